"""Pictures of any size, cut into tiles that a network takes, and its answers put together again without a seam.

Tiles overlap. Where a network's answer depends only on what is near (it has a `reach`), each tile brings the pixels that are
out of its border's reach, and the whole is what one forward pass would have given. Elsewhere neighbours are blended across
their overlap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.engine.fitting import Picture
from models.pixels import from_uint8

WHOLE = 16  # the sum of the weights along one side: two sides' product, times 255, fits in 16 bits
BLENDED_OVERLAP = 0.25  # of a tile's side, for networks that may see all of a tile


@dataclass(frozen=True)
class Tiling:
    """Tiles of `height` x `width` px, whose upper left corners are all pairs of `tops` and `lefts`."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    height: int
    width: int
    blend: bool  # whether neighbours are blended across their overlap, or cut in its middle

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def corner(self, index: int) -> tuple[int, int]:
        """Top and left of a tile; they go row by row."""
        row, column = divmod(index, len(self.lefts))
        return self.tops[row], self.lefts[column]


def lay(height: int, width: int, *, multiple_of: int, reach: int | None, most_pixels: int) -> Tiling:
    """Tiles over a picture whose sides are multiples of `multiple_of`: one if it has at most `most_pixels`, else squares.

    A tile is never smaller than its reach or twice `multiple_of` calls for, so a limit far below that is not kept.
    """
    if height * width <= most_pixels:
        return Tiling((0,), (0,), height, width, blend=False)
    overlap = 2 * reach if reach is not None else round(BLENDED_OVERLAP * math.sqrt(most_pixels))
    side = max(math.isqrt(most_pixels), 2 * overlap, 2 * multiple_of)
    tile_height, tops = _along(height, side, overlap, multiple_of)
    tile_width, lefts = _along(width, side, overlap, multiple_of)
    return Tiling(tops, lefts, tile_height, tile_width, blend=reach is None)


def _along(length: int, side: int, overlap: int, multiple_of: int) -> tuple[int, tuple[int, ...]]:
    """A tile's side along one axis, and where the tiles begin. All of them are multiples of `multiple_of`."""
    side = max(side // multiple_of, 1) * multiple_of
    if length <= side:
        return length, (0,)
    stride = max((side - overlap) // multiple_of, 1) * multiple_of
    gaps = -(-(length - side) // stride)
    return side, tuple((length - side) * i // gaps // multiple_of * multiple_of for i in range(gaps + 1))


def padded(picture: Picture, multiple_of: int) -> Picture:
    """The picture with its right and lower edges mirrored outwards until both sides are multiples of `multiple_of`."""
    down, right = (-side % multiple_of for side in picture.shape[:2])
    return np.pad(picture, ((0, down), (0, right), (0, 0)), mode="symmetric") if down or right else picture


@dataclass(frozen=True)
class TilePlan:
    """What every tile's answer is to be made from: a picture whose sides the network takes, and how it is cut."""

    picture: Picture
    tiling: Tiling
    truncation: None = None  # of no latent
    seeds: Sequence[int | None] = field(init=False)  # of no seed
    labels: Sequence[int | None] = field(init=False)  # and no class

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", [None] * len(self.tiling))
        object.__setattr__(self, "labels", self.seeds)

    def __len__(self) -> int:
        return len(self.tiling)

    def rows(self, start: int, stop: int) -> tuple[Tensor, ...]:
        """Tiles `start` to `stop` as the network takes them: (n, C, h, w) in [-1, 1]."""
        corners = [self.tiling.corner(i) for i in range(start, stop)]
        height, width = self.tiling.height, self.tiling.width
        pieces = [self.picture[top : top + height, left : left + width] for top, left in corners]
        return (from_uint8(torch.from_numpy(np.stack(pieces))).permute(0, 3, 1, 2),)

    def joined(self, pieces: Sequence[Picture], scale: int) -> Picture:
        """The answers to all tiles, in order, as one picture."""
        return join(self.tiling, pieces, scale)


def join(tiling: Tiling, pieces: Sequence[Picture], scale: int) -> Picture:
    """Tiles' answers, uint8 (h · scale, w · scale, C) each, as one picture. Sums of whole numbers: any order gives the same."""
    if len(pieces) == 1:
        return pieces[0]
    height, width = (tiling.tops[-1] + tiling.height) * scale, (tiling.lefts[-1] + tiling.width) * scale
    rows = _weights(tiling.tops, tiling.height, scale, blend=tiling.blend)
    columns = _weights(tiling.lefts, tiling.width, scale, blend=tiling.blend)
    canvas = np.zeros((height, width, pieces[0].shape[2]), np.uint16)
    for i, piece in enumerate(pieces):
        top, left = (side * scale for side in tiling.corner(i))
        row, column = divmod(i, len(tiling.lefts))
        weights = rows[row][:, None] * columns[column][None, :]
        canvas[top : top + len(piece), left : left + piece.shape[1]] += piece * weights[:, :, None]
    np.add(canvas, WHOLE * WHOLE // 2, out=canvas)  # 255 · 256 + 128 still fits
    return (canvas // (WHOLE * WHOLE)).astype(np.uint8)


def _weights(starts: Sequence[int], side: int, scale: int, *, blend: bool) -> list[NDArray[np.uint16]]:
    """What each tile counts along one axis, 0 … WHOLE a pixel; at every pixel of the whole they sum up to WHOLE."""
    weights = [np.full(side * scale, WHOLE, np.uint16) for _ in starts]
    ends = [start + side for start in starts]
    for i, b in enumerate(starts[1:]):
        low, high = b, ends[i]  # they share this; where a third tile is near, blending ends before it
        if blend:
            low = max(low, ends[i - 1]) if i else low
            high = min(high, starts[i + 2]) if i + 2 < len(starts) else high
        place = (np.arange(b * scale, ends[i] * scale) + 0.5 - low * scale) / ((high - low) * scale)
        rising = (np.round(WHOLE * place.clip(0, 1)) if blend else np.where(place < 0.5, 0, WHOLE)).astype(np.uint16)
        weights[i + 1][: len(rising)] = np.minimum(weights[i + 1][: len(rising)], rising)
        falls_from = side * scale - len(rising)
        weights[i][falls_from:] = np.minimum(weights[i][falls_from:], WHOLE - rising)
    return weights
