"""`python -m benchmarks.sheets [MODEL …]`: pictures before and after, as callers of the HTTP API get them.

Starts a server on the zoo, sends it held-out pictures of each model's own data, and writes `answers.png` beside the card.
"""

import argparse
import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.server import serving
from models.checkpoint import read_manifest
from models.manifest import Manifest
from models.tasks import Task
from training.__main__ import find_entry
from training.config import stored_config
from training.data import DataConfig, LabelledImages, load
from training.data.pairs import Pairs
from training.data.photos import Photos
from training.data.unpaired import Unpaired
from training.holes import centre_holes, random_holes

Pixels = NDArray[np.uint8]  # (H, W, 3)
Row = list[Pixels]

ROWS = 8
SHORT = 640  # px of a row; of those that are shorter, two stand beside each other
SR_SIDE = 48  # px, of what is enlarged
SEED = 7
GAP = 4
HEADINGS = {
    Task.TRANSLATION: "given, answer, and what it should be or what comes back",
    Task.SUPER_RESOLUTION: "given, bicubic, fidelity 1, fidelity 0.5, fidelity 0, and the true picture",
    Task.INPAINTING: "given, three ways to fill the hole, where they differ (four times as bright), and the true picture",
    Task.UNCONDITIONAL: "the true picture, the nearest that the model can make, given, and two ways to fill the hole by search",
}


def png(pixels: Pixels) -> bytes:
    """As a file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


class Api:
    """What the sheets ask of a running service."""

    def __init__(self, client: httpx2.Client, model: str) -> None:
        self._client, self._model = client, model

    def ask(self, path: str, files: dict[str, Pixels], **fields: str) -> httpx2.Response:
        """An answer as JSON. Raises for any problem."""
        sent = {name: (f"{name}.png", png(pixels)) for name, pixels in files.items()}
        response = self._client.post(path, files=sent, data={"model": self._model, **fields})
        response.raise_for_status()
        return response

    def pictures(self, path: str, files: dict[str, Pixels], **fields: str) -> list[Pixels]:
        """Pictures (H, W, 3); to holes also where the ways to fill them differ."""
        body = self.ask(path, files, **fields).json()
        return [decoded(i) for i in (*body.get("images", [body.get("image")]), body.get("disagreement")) if i is not None]


def decoded(image: dict[str, str]) -> Pixels:
    """A picture of a JSON answer, as RGB."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64"]))).convert("RGB"))


def array(picture: torch.Tensor) -> Pixels:
    """uint8 (C, H, W) → (H, W, 3)."""
    return picture.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


def translated(api: Api, data: object) -> Iterator[Row]:
    """Of pairs: given, answer, true. Of two collections: given, answer, brought back; both ways."""
    if isinstance(data, Pairs):
        for given, wanted in zip(data.given, data.wanted, strict=True):
            yield [array(given), *api.pictures("/v1/translate", {"image": array(given)}), array(wanted)]
    assert isinstance(data, Pairs | Unpaired)
    if isinstance(data, Unpaired):
        for a, b in zip(data.a, data.b, strict=False):
            for picture, forth, home in ((a, "AtoB", "BtoA"), (b, "BtoA", "AtoB")):
                (made,) = api.pictures("/v1/translate", {"image": array(picture)}, direction=forth)
                yield [array(picture), made, *api.pictures("/v1/translate", {"image": made}, direction=home)]


def enlarged(api: Api, data: object) -> Iterator[Row]:
    """Squares of photos, made small: given, bicubic, three fidelities, true."""
    assert isinstance(data, Photos)
    for photo in data.photos:
        side, (_, height, width) = 4 * SR_SIDE, photo.shape
        top, left = (height - side) // 2, (width - side) // 2
        true = Image.fromarray(array(photo[:, top : top + side, left : left + side]))
        small = true.resize((SR_SIDE, SR_SIDE), Image.Resampling.BICUBIC)
        given = small.resize(true.size, Image.Resampling.NEAREST), small.resize(true.size, Image.Resampling.BICUBIC)
        sent = {"image": np.asarray(small)}
        answers = [api.pictures("/v1/upscale", sent, fidelity=f)[0] for f in ("1", "0.5", "0")]
        yield [*(np.asarray(picture) for picture in given), *answers, np.asarray(true)]


def holed(data: object) -> Iterator[tuple[Pixels, Pixels, Pixels]]:
    """Pictures, masks, and the pictures with white in the holes: centre and random holes in turn."""
    assert isinstance(data, LabelledImages)
    torch.manual_seed(0)
    side = data.images.shape[3]
    for i, image in enumerate(data.images):
        hole = (centre_holes if i % 2 == 0 else random_holes)(1, side)[0, 0].bool().numpy()
        true = array(image)
        yield true, hole.astype(np.uint8) * 255, np.where(hole[:, :, None], np.uint8(255), true)


def filled(api: Api, data: object) -> Iterator[Row]:
    """Given, three ways to fill it, where they differ, true."""
    for true, mask, given in holed(data):
        *ways, apart = api.pictures("/v1/inpaint", {"image": given, "mask": mask}, n="3", seed=str(SEED))
        yield [given, *ways, np.minimum(apart.astype(np.uint16) * 4, 255).astype(np.uint8), true]


def found(api: Api, data: object) -> Iterator[Row]:
    """True, nearest, given, two ways to fill it."""
    for true, mask, given in holed(data):
        nearest = api.pictures("/v1/project", {"image": true})
        ways = api.pictures("/v1/inpaint", {"image": given, "mask": mask}, n="2", seed=str(SEED))[:2]
        yield [true, *nearest, given, *ways]


MAKERS: dict[Task, Callable[[Api, object], Iterator[Row]]] = {
    Task.TRANSLATION: translated,
    Task.SUPER_RESOLUTION: enlarged,
    Task.INPAINTING: filled,
    Task.UNCONDITIONAL: found,
}


def columns(row: Row) -> int:
    """How many rows of this length stand beside each other."""
    return 2 if len(row) * row[0].shape[1] < SHORT else 1


def sheet(rows: list[Row]) -> Image.Image:
    """Rows of pictures of one size."""
    height, width = rows[0][0].shape[:2]
    beside, across = columns(rows[0]), len(rows[0]) * width + GAP
    made = Image.new("RGB", (beside * across - GAP, -(-len(rows) // beside) * height), "white")
    for i, row in enumerate(rows):
        for j, pixels in enumerate(row):
            made.paste(Image.fromarray(pixels), (i % beside * across + j * width, i // beside * height))
    return made


def main() -> None:
    """Writes the sheets of the models that are named, or of all that answer pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="default: all that answer pictures or ship their discriminator")
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    options = parser.parse_args()
    entries = [find_entry(model, options.zoo) for model in options.models or sorted(p.name for p in options.zoo.iterdir())]
    with serving(options.zoo) as server, httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=300) as client:
        for entry in entries:
            manifest = read_manifest(entry)
            if manifest.task not in MAKERS or (manifest.task is Task.UNCONDITIONAL and not manifest.extras):
                continue
            server.wait_for(manifest.name)
            rows = []
            for row in MAKERS[manifest.task](Api(client, f"{manifest.name}@{manifest.version}"), held_out(manifest)):
                rows.append(row)
                if len(rows) == ROWS * columns(row):
                    break
            sheet(rows).save(entry / "answers.png", optimize=True)
            tell(entry, HEADINGS[manifest.task])
            print(entry / "answers.png")


def held_out(manifest: Manifest) -> object:
    """The test split of the data that a model was trained on."""
    config: DataConfig = stored_config({"name": manifest.name, **manifest.training.config}, "the model's manifest").data
    return load(config, "test")


def tell(entry: Path, heading: str) -> None:
    """Shows the sheet in the model's card."""
    card = entry / "CARD.md"
    text = card.read_text()
    if "answers.png" not in text:
        section = (
            f"## Over HTTP\n\n![answers](answers.png)\n\nHeld-out pictures, sent to the service by "
            f"`python -m benchmarks.sheets {entry.parent.name}`. In each row: {heading}.\n\n"
        )
        card.write_text(text.replace("## Limits", section + "## Limits"))


if __name__ == "__main__":
    main()
