"""From a picture with a hole, or one to be found again, to the rows that networks take, and back.

Plain functions of arrays, for helper threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.engine.fitting import Fit, Mask, Picture, as_channels, resized, resized_around, shrunk_into, squared
from models.families.inpaint import with_hole
from models.inversion import START, blended, context_weights
from models.latents import latents
from models.pixels import from_uint8, to_uint8


@dataclass(frozen=True, eq=False)
class Canvas:
    """A picture, uint8 (side, side, C), and its hole, at the size that a model learned on. `inner`: how much is no padding."""

    picture: Picture
    hole: Mask
    inner: tuple[int, int]

    @property
    def target(self) -> Tensor:
        """The picture as networks see it: (1, C, side, side) in [-1, 1]."""
        return from_uint8(torch.from_numpy(self.picture)).permute(2, 0, 1)[None]

    @property
    def unknown(self) -> Tensor:
        """The hole, (1, 1, side, side): 1 where nothing is known."""
        return torch.from_numpy(self.hole).float()[None, None]


def canvas(picture: Picture, hole: Mask | None, side: int, channels: int, fit: Fit) -> Canvas:
    """A picture (H, W, 3) brought to a model's size and channels; no hole: all of it is known."""
    hole = np.zeros(picture.shape[:2], bool) if hole is None else hole
    height, width = hole.shape
    inner = shrunk_into(height, width, side) if fit == "pad" else (side, side)
    small, unknown = resized_around(as_channels(picture, channels), hole, *inner)
    return Canvas(squared(small, side), squared(unknown, side), inner)


def one_pass(question: Canvas, seeds: Sequence[int], noise_dim: int) -> tuple[Tensor, ...]:
    """The rows of an inpainting generator, one a seed."""
    given = with_hole(question.target, question.unknown)
    return given.expand(len(seeds), -1, -1, -1), latents(seeds, noise_dim)


def searched(question: Canvas, count: int) -> tuple[Tensor, Tensor]:
    """What a search for `count` latents compares with: targets (count, C, side, side) and weights (count, 1, side, side)."""
    weights = context_weights(question.unknown)
    return question.target.expand(count, -1, -1, -1), weights.expand(count, -1, -1, -1)


def starts(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Where to begin to search for ways to fill a hole: (n, z_dim)."""
    return latents(seeds, z_dim) * START


def blend_in(question: Canvas, made: Sequence[Picture]) -> list[Picture]:
    """Found pictures, uint8 (side, side, C), with the colours that the known pixels around the hole call for."""
    pixels = from_uint8(torch.from_numpy(np.stack(made))).permute(0, 3, 1, 2)
    target, hole = (t.expand(len(made), -1, -1, -1) for t in (question.target, question.unknown))
    return list(to_uint8(blended(pixels, target, hole)).numpy())


def filled(question: Canvas, made: Picture, picture: Picture, hole: Mask) -> Picture:
    """The caller's picture (H, W, 3), with what was made, uint8 (side, side, C), in its hole alone."""
    patch = made[: question.inner[0], : question.inner[1]]
    if patch.shape[:2] != hole.shape:
        patch = resized(patch, *hole.shape)
    return np.where(hole[:, :, None], patch, picture)


def disagreement(ways: Sequence[Picture]) -> Picture:
    """How far apart the ways to fill a hole are at each pixel: standard deviation, the channels' mean, uint8 (H, W)."""
    mean = sum(way.astype(np.float32) for way in ways) / np.float32(len(ways))
    variance = sum(np.square(way - mean) for way in ways) / np.float32(len(ways))
    spread: NDArray[np.float32] = np.sqrt(np.asarray(variance)).mean(axis=2)
    return np.rint(spread).astype(np.uint8)


def distances(question: Canvas, made: Sequence[Picture]) -> list[float]:
    """Root of the mean squared difference of the known pixels, of a range of 1, to each of pictures uint8 (side, side, C)."""
    known = ~question.hole
    if not known.any():
        return [0.0] * len(made)
    away = [(m[known].astype(np.float64) - question.picture[known]) / 255 for m in made]
    return [float(np.sqrt(np.square(a).mean())) for a in away]
