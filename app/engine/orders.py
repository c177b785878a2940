"""What can be ordered from the engine, and what comes back."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.engine.catalog import Served

Label = int | str  # an index, or a name in upper or lower case
Method = Literal["slerp", "lerp"]


@dataclass(frozen=True)
class DrawOrder:
    """`n` pictures from consecutive seeds, or from explicit latents."""

    model: str | None
    n: int
    seed: int  # of the first picture; the i-th has seed + i
    z: list[list[float]] | None = None
    labels: list[Label] | None = None  # one a picture; None: cycle through the classes
    truncation: float = 1.0


@dataclass(frozen=True)
class Keyframe:
    """One station of an interpolation: a seed or a latent, and maybe a label."""

    source: int | list[float]
    label: Label | None


@dataclass(frozen=True)
class InterpolateOrder:
    """A walk through `keyframes`, `steps` frames from each to the next; back to the first one if `loop`."""

    model: str | None
    keyframes: list[Keyframe]
    steps: int
    method: Method
    loop: bool
    truncation: float


@dataclass(frozen=True)
class ArithmeticOrder:
    """One picture, of Σ weight · mean(latents of seeds)."""

    model: str | None
    terms: list[tuple[float, list[int]]]
    label: Label | None
    truncation: float


@dataclass(frozen=True)
class Drawing:
    """Finished pictures, uint8 (n, H, W, C), and where each came from."""

    model: Served
    images: NDArray[np.uint8]
    seeds: list[int | None]  # None: of no single seed
    labels: list[int | None]  # None: of no single class
    truncation: float
    queue_ms: float
    inference_ms: float
