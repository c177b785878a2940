"""Small sets of real pictures: those that came with a model, and those that a caller sends as a zip of class folders."""

import io
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from app.codecs.upload import PictureError, composited, read_picture
from app.datasets.formats.row import folder_names

MAX_FILES = 20_000
MAX_FILE_BYTES = 8 * 2**20  # of one picture
MAX_PIXELS = 2**24  # of one picture
LEAST_OF_A_CLASS = 2  # one to learn from, one to be asked about
SPLITS = ("train", "test")


class RealSetError(Exception):
    """A set that can't be used. The message says why, and what would be right."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures uint8 (N, H, W, C) and labels int64 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Splits:
    """To learn from, and to be asked about."""

    train: Pictures
    test: Pictures

    def pack(self) -> bytes:
        """As an .npz file."""
        out = io.BytesIO()
        np.savez(
            out, train_images=self.train.images, train_labels=self.train.labels,
            test_images=self.test.images, test_labels=self.test.labels,
        )  # fmt: skip
        return out.getvalue()


def unpack(data: bytes) -> Splits:
    """The inverse of `Splits.pack`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as kept:
        train, test = (Pictures(kept[f"{split}_images"], kept[f"{split}_labels"]) for split in SPLITS)
    return Splits(train, test)


def of_model(parquet: bytes) -> Splits:
    """The real pictures of a zoo entry: columns `image` (PNG), `label`, `split`."""
    table = pyarrow.parquet.read_table(io.BytesIO(parquet)).to_pydict()
    found: dict[str, list[tuple[NDArray[np.uint8], int]]] = defaultdict(list)
    for image, label, split in zip(table["image"], table["label"], table["split"], strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(image["bytes"]), formats=["PNG"]))
        found[split].append((pixels if pixels.ndim == 3 else pixels[..., None], label))
    return Splits(*(stacked(found[split]) for split in SPLITS))


def of_zip(data: bytes, label_names: Sequence[str], shape: tuple[int, int, int]) -> Splits:
    """A zip of pictures in folders called like the classes, perhaps in folders `train` and `test`.

    Without those, of each class every second picture is to learn from. `shape`: what pictures are brought to, (H, W, C).
    Raises `RealSetError`.
    """
    found: dict[str, list[tuple[NDArray[np.uint8], int]]] = defaultdict(list)
    seen: dict[int, int] = defaultdict(int)
    files = _files(data)
    divided = any(split == "test" for _, split, _ in files)
    names = _index_of(label_names)
    for path, split, content in files:
        folder = PurePosixPath(path).parent.name
        label = names.get(folder.casefold())
        if label is None:
            known = ", ".join(label_names[:20])
            raise RealSetError(f"'{path[-100:]}' is in no folder of a class that the data set has: {known}")
        try:
            pixels = fitted(composited(read_picture(content, max_pixels=MAX_PIXELS)), shape)
        except PictureError as error:
            raise RealSetError(f"'{path[-100:]}': {error}") from None
        found[split if divided else SPLITS[seen[label] % 2]].append((pixels, label))
        seen[label] += 1
    splits = Splits(*(stacked(found[split]) for split in SPLITS))
    for split, pictures in zip(SPLITS, (splits.train, splits.test), strict=True):
        if len(np.unique(pictures.labels)) < LEAST_OF_A_CLASS:
            raise RealSetError(f"there are too few pictures to {'learn from' if split == 'train' else 'be asked about'}: "
                               f"send some of at least two classes, and at least two of each")  # fmt: skip
    return splits


def _files(data: bytes) -> list[tuple[str, str, bytes]]:
    """Path, split and content of each file. Raises `RealSetError`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = [e for e in archive.infolist() if not e.is_dir() and not _hidden(e.filename)]
        if not entries or len(entries) > MAX_FILES:
            raise RealSetError(f"the zip has {len(entries)} files; it may have 1 to {MAX_FILES}")
        large = next((e for e in entries if e.file_size > MAX_FILE_BYTES), None)
        if large is not None:
            raise RealSetError(f"'{large.filename[-100:]}' has {large.file_size} bytes, and may have {MAX_FILE_BYTES}")
        files = []
        for entry in sorted(entries, key=lambda e: e.filename):
            with archive.open(entry) as file:
                content = file.read(MAX_FILE_BYTES)  # whatever the header says
            files.append((entry.filename, "test" if "test" in PurePosixPath(entry.filename).parts[:-2] else "train", content))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise RealSetError(f"the real pictures are no zip that can be read ({error})") from None
    return files


def _hidden(name: str) -> bool:
    """What archivers put beside the pictures."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _index_of(label_names: Sequence[str]) -> dict[str, int]:
    """Class indices by what a folder may be called."""
    plain = {name.casefold(): i for i, name in enumerate(folder_names(label_names))}
    return {**plain, **{name.casefold(): i for i, name in enumerate(label_names)}}


def fitted(pixels: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A picture (h, w, 3), its middle cut out and brought to (H, W, C)."""
    height, width, channels = shape
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (left, top, left + width * scale, top + height * scale)
    made = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))
    return made if made.ndim == 3 else made[..., None]


def stacked(rows: Sequence[tuple[NDArray[np.uint8], int]]) -> Pictures:
    """Pictures and their labels in arrays."""
    if not rows:
        return Pictures(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int64))
    return Pictures(np.stack([pixels for pixels, _ in rows]), np.array([label for _, label in rows], dtype=np.int64))
