"""The pictures of a data set's report: its classes, and which of them are taken for which."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

MAX_CLASSES = 20  # in a drawing
LEAST_SIDE = 56  # px: smaller pictures are shown in a multiple of their size
GAP, TEXT_PX, CELL = 2, 13, 34
INK, PAPER = (20, 20, 20), (255, 255, 255)


def draw_classes(rows: Sequence[tuple[str, Sequence[Pixels]]]) -> bytes:
    """A PNG: for each class its name and some of its pictures (H, W, C), all of one size."""
    rows = [(name, pictures) for name, pictures in rows if pictures][:MAX_CLASSES]
    height, width = rows[0][1][0].shape[:2]
    times = max(1, -(-LEAST_SIDE // max(height, width)))
    height, width = height * times, width * times
    margin = _margin([name for name, _ in rows])
    columns = max(len(pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (margin + columns * (width + GAP), len(rows) * (height + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for y, (name, pictures) in enumerate(rows):
        top = y * (height + GAP)
        pen.text((margin - 6, top + height / 2), name, INK, _font(), anchor="rm")
        for x, pixels in enumerate(pictures):
            picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (margin + x * (width + GAP), top))
    return _png(sheet)


def draw_confusion(read: Mapping[tuple[int, int], int], names: Sequence[str]) -> bytes:
    """A PNG: for each class asked for (a row), the share that the judge takes for each class (a column), in per cent."""
    names = names[:MAX_CLASSES]
    counts = np.array([[read.get((asked, found), 0) for found in range(len(names))] for asked in range(len(names))])
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    margin, head = _margin(names), 24
    sheet = Image.new("RGB", (margin + len(names) * CELL + GAP, head + len(names) * CELL + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, name in enumerate(names):
        pen.text((margin - 6, head + (i + 0.5) * CELL), f"{name}  {i}", INK, _font(), anchor="rm")
        pen.text((margin + (i + 0.5) * CELL, head / 2), str(i), INK, _font(), anchor="mm")
    for (row, column), share in np.ndenumerate(shares):
        left, top = margin + column * CELL, head + row * CELL
        shade = tuple(round(255 - share * (255 - full)) for full in (31, 90, 160))
        pen.rectangle((left, top, left + CELL - GAP, top + CELL - GAP), shade)
        if counts[row, column]:
            text = f"{share * 100:.0f}" if share >= 0.01 else "<1"
            pen.text((left + CELL / 2, top + CELL / 2), text, PAPER if share > 0.5 else INK, _font(), anchor="mm")
    return _png(sheet)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_PX)


def _margin(names: Sequence[str]) -> int:
    """Room for the names at the left."""
    return max(int(_font().getlength(f"{name}  00")) for name in [*names, ""]) + 12


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
