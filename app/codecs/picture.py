"""What every codec takes: a picture and where it came from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
GAP_PX = 2  # between the pictures of a contact sheet
SYNTHETIC = "synthetic image"  # the words by which a picture says that no camera took it


@dataclass(frozen=True)
class Provenance:
    """Where a picture came from: enough to make it again. None: made from no single seed, or of no single label."""

    model: str
    version: int
    seed: int | None
    label: str | None
    truncation: float | None
    codes: str | None = None  # JSON

    def texts(self) -> dict[str, str]:
        """As key and text, the words "synthetic image" among them."""
        texts = {
            "Description": f"{SYNTHETIC}, made by the GAN {self.model}@{self.version}",
            "ganymede:model": self.model,
            "ganymede:version": str(self.version),
        }
        if self.truncation is not None:
            texts["ganymede:truncation"] = str(self.truncation)
        if self.seed is not None:
            texts["ganymede:seed"] = str(self.seed)
        if self.label is not None:
            texts["ganymede:label"] = self.label
        if self.codes is not None:
            texts["ganymede:codes"] = self.codes
        return texts

    def line(self) -> str:
        """In one line, for formats with room for a single comment."""
        texts = self.texts()
        return "; ".join([texts.pop("Description"), *(f"{k}={v}" for k, v in texts.items())])


@dataclass(frozen=True)
class Picture:
    """Pixels, uint8 (height, width, channels) with 1 to 4 channels, and where they came from."""

    pixels: NDArray[np.uint8]
    provenance: Provenance

    def image(self) -> Image.Image:
        """As Pillow's image: grey, grey and alpha, RGB or RGBA."""
        height, width, channels = self.pixels.shape
        return Image.frombytes(MODES[channels], (width, height), np.ascontiguousarray(self.pixels).tobytes())


@dataclass(frozen=True)
class Encoded:
    """A picture as the bytes of a file, its size in px, and where it came from."""

    data: bytes
    provenance: Provenance
    width: int
    height: int


def single(pictures: Sequence[Picture]) -> Picture:
    """One picture as it is; several as a contact sheet, row by row, as square as can be."""
    first = pictures[0]
    if len(pictures) == 1:
        return first
    height, width, channels = first.pixels.shape
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * (height + GAP_PX) - GAP_PX, columns * (width + GAP_PX) - GAP_PX, channels), 255, dtype=np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + GAP_PX), i % columns * (width + GAP_PX)
        sheet[top : top + height, left : left + width] = picture.pixels
    labels = {p.provenance.label for p in pictures}
    label = first.provenance.label if len(labels) == 1 else None
    return Picture(sheet, replace(first.provenance, label=label))
