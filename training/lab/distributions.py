"""What is imitated: distributions whose modes, quantiles and samples are known exactly."""

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy.special import ndtr
from torch import Tensor

from training.config import Section

RING, GRID_SIDE, GRID_SPACING = 8, 5, 2.0
SPIRAL_TURNS, SPIRAL_ARCS, SPIRAL_POINTS = 1.5, 20, 2000
SIGMAS = {"ring": 0.01, "grid": 0.05, "spiral": 0.02}  # ring and grid as in VEEGAN, https://arxiv.org/abs/1705.07761


class TargetConfig(Section):
    """The `[target]` table: a mixture on a line (a single normal is one of one part), or one of three shapes in the plane."""

    kind: Literal["mixture", "ring", "grid", "spiral"] = "grid"
    means: tuple[float, ...] = Field((4.0,), min_length=1)  # of a mixture
    sigmas: tuple[float, ...] = Field((0.5,), min_length=1)  # of a mixture, one a mean
    sigma: float | None = Field(None, gt=0)  # of a shape; None: as papers have it

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.means) != len(self.sigmas):
            raise ValueError(f"{len(self.means)} means need as many sigmas, and there are {len(self.sigmas)}")
        if min(self.sigmas) <= 0:
            raise ValueError("sigmas must be above 0")
        return self


class Target(ABC):
    """A distribution. Points are float32 (N, dimensions)."""

    dimensions: int
    modes: int
    reach: float  # half the side of a square, or of an interval, around `centre` that shows all of it
    centre: float = 0.0

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent points (count, dimensions)."""

    @abstractmethod
    def nearest(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mode next to each point (N, dimensions), and how many of its standard deviations away: int and float (N,)."""


class Mixture(Target):
    """Normal distributions on a line, equally likely."""

    dimensions = 1

    def __init__(self, means: tuple[float, ...], sigmas: tuple[float, ...]) -> None:
        self.means, self.sigmas = torch.tensor(means), torch.tensor(sigmas)
        self.modes = len(means)
        low = min(m - 5 * s for m, s in zip(means, sigmas, strict=True))
        high = max(m + 5 * s for m, s in zip(means, sigmas, strict=True))
        self.centre, self.reach = (low + high) / 2, (high - low) / 2

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        part = torch.randint(self.modes, (count,), generator=generator)
        return (self.means[part] + self.sigmas[part] * torch.randn(count, generator=generator))[:, None]

    def nearest(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away: np.ndarray = np.abs(x - self.means.numpy()) / self.sigmas.numpy()
        return away.argmin(axis=1), away.min(axis=1)

    def density(self, x: np.ndarray) -> np.ndarray:
        """Probability density at points (N,)."""
        scaled = (x[:, None] - self.means.numpy()) / self.sigmas.numpy()
        density: np.ndarray = (np.exp(-(scaled**2) / 2) / (self.sigmas.numpy() * math.sqrt(2 * math.pi))).mean(axis=1)
        return density

    def quantiles(self, shares: np.ndarray) -> np.ndarray:
        """The inverse of the distribution function at shares (N,) between 0 and 1."""
        found: np.ndarray = np.interp(shares, *self._inverse)
        return found

    @cached_property
    def _inverse(self) -> tuple[np.ndarray, np.ndarray]:
        wide = self.reach * 2
        x = np.linspace(self.centre - wide, self.centre + wide, 200_001)
        return ndtr((x[:, None] - self.means.numpy()) / self.sigmas.numpy()).mean(axis=1), x


class Shape(Target):
    """Normal noise of `sigma` around anchors (A, 2) in the plane, each equally likely; anchors are shared out among modes."""

    dimensions = 2

    def __init__(self, anchors: Tensor, modes: int, sigma: float) -> None:
        self.anchors, self.modes, self.sigma = anchors.float(), modes, sigma
        self.reach = 1.2 * float(anchors.abs().max())

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        chosen = self.anchors[torch.randint(len(self.anchors), (count,), generator=generator)]
        return chosen + self.sigma * torch.randn(count, 2, generator=generator)

    def nearest(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = torch.tensor_split(torch.from_numpy(x).float(), max(1, len(x) // 4096))
        away, which = (torch.cat(t) for t in zip(*(torch.cdist(p, self.anchors).min(dim=1) for p in parts), strict=True))
        return (which * self.modes // len(self.anchors)).numpy(), (away / self.sigma).numpy()


def ring(sigma: float) -> Shape:
    """Eight modes on a circle of radius 1."""
    angles = torch.arange(RING) * (2 * math.pi / RING)
    return Shape(torch.stack([angles.cos(), angles.sin()], dim=1), RING, sigma)


def grid(sigma: float) -> Shape:
    """Twenty-five modes, 2 apart."""
    line = (torch.arange(GRID_SIDE) - GRID_SIDE // 2) * GRID_SPACING
    return Shape(torch.cartesian_prod(line, line), GRID_SIDE**2, sigma)


def spiral(sigma: float) -> Shape:
    """An Archimedean spiral of one and a half turns out to radius 1, equally dense along its length; its modes are 20 arcs."""
    fine = torch.linspace(0.02, 1, 100_000, dtype=torch.float64)
    points = fine[:, None] * torch.stack(
        [(fine * SPIRAL_TURNS * 2 * math.pi).cos(), (fine * SPIRAL_TURNS * 2 * math.pi).sin()], 1
    )
    length = torch.cat([torch.zeros(1), (points[1:] - points[:-1]).norm(dim=1).cumsum(0)])
    at = torch.searchsorted(length, torch.linspace(0, float(length[-1]), SPIRAL_POINTS, dtype=torch.float64))
    return Shape(points[at.clamp(max=len(points) - 1)], SPIRAL_ARCS, sigma)


def make_target(config: TargetConfig) -> Target:
    """The distribution that a config names."""
    if config.kind == "mixture":
        return Mixture(config.means, config.sigmas)
    return {"ring": ring, "grid": grid, "spiral": spiral}[config.kind](config.sigma or SIGMAS[config.kind])
