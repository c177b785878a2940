"""What can be ordered from the engine, and what comes back."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from app.engine.catalog import Served
from app.engine.device import Pixels
from app.engine.fitting import Fit, Mask
from models.codes import CodeValue

Label = int | str  # an index, or a name in upper or lower case
Method = Literal["slerp", "lerp"]


@dataclass(frozen=True)
class DrawOrder:
    """`n` pictures from consecutive seeds, from given ones, or from explicit latents."""

    model: str | None
    n: int
    seed: int  # of the first picture; the i-th has seed + i, unless `seeds` says otherwise
    z: list[list[float]] | None = None
    labels: list[Label] | None = None  # one a picture; None: cycle through the classes
    truncation: float = 1.0
    seeds: Sequence[int] | None = None
    codes: Mapping[str, CodeValue] = field(default_factory=dict)  # of all pictures, for models that have any
    resolution: int | None = None  # one of the model's, px; None: the largest


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
    resolution: int | None = None

    @property
    def frames(self) -> int:
        """How many frames there will be: `steps` a segment, and the last keyframe unless it loops."""
        return len(self.keyframes) * self.steps if self.loop else (len(self.keyframes) - 1) * self.steps + 1


@dataclass(frozen=True)
class BetweenOrder:
    """One picture on the way from `start` to `end`, which have the same label: `t` = 0 is the start, 1 the end."""

    model: str | None
    start: Keyframe
    end: Keyframe
    t: float
    truncation: float
    resolution: int | None = None


@dataclass(frozen=True)
class ArithmeticOrder:
    """One picture, of Σ weight · mean(latents of seeds)."""

    model: str | None
    terms: list[tuple[float, list[int]]]
    label: Label | None
    truncation: float
    resolution: int | None = None


Direction = Literal["AtoB", "BtoA"]


@dataclass(frozen=True, eq=False)
class TranslateOrder:
    """An answer to a picture, uint8 RGB (H, W, 3), that has its size, or the model's scale times that.

    `fit`: how it is brought to the size that the model learned on: resized, resized in proportion and padded, or not at all.
    """

    model: str | None
    picture: Pixels
    direction: Direction = "AtoB"
    fit: Fit = "resize"
    fidelity: float | None = None  # 1: the faithful weights, 0: the sharp ones; None: as published


@dataclass(frozen=True, eq=False)
class InpaintOrder:
    """`n` ways to fill a hole (H, W), True where the picture, uint8 RGB (H, W, 3), is not to be believed.

    The i-th is that of seed + i. `fit`: as for `TranslateOrder`; holes are not filled piece by piece.
    """

    model: str | None
    picture: Pixels
    hole: Mask
    n: int
    seed: int
    label: Label | None = None  # of models with classes; None: the one that fits best
    fit: Fit = "resize"


@dataclass(frozen=True, eq=False)
class ProjectOrder:
    """The latent of the picture nearest to one, uint8 RGB (H, W, 3)."""

    model: str | None
    picture: Pixels
    label: Label | None = None  # as for `InpaintOrder`
    fit: Fit = "resize"


@dataclass(frozen=True, eq=False)
class ScoreOrder:
    """What a discriminator says of pictures, uint8 RGB (H, W, 3) each."""

    model: str | None
    pictures: list[Pixels]
    labels: list[Label] | None  # one a picture, for models with classes


@dataclass(frozen=True, eq=False)
class ClassifyOrder:
    """What a model's classifier takes a picture, uint8 RGB (H, W, 3), for."""

    model: str | None
    picture: Pixels


@dataclass(frozen=True, eq=False)
class Answered:
    """The answer to a picture, uint8 (H, W, C), and how long it took."""

    model: Served
    pixels: Pixels
    queue_ms: float
    inference_ms: float


@dataclass(frozen=True, eq=False)
class Scored:
    """A discriminator's logits, one a picture: the higher, the more it takes the picture for a real one."""

    model: Served
    scores: list[float]
    queue_ms: float
    inference_ms: float


@dataclass(frozen=True, eq=False)
class Classified:
    """The probability of each class, likeliest first: its index, its name, and how likely it is. They sum to 1."""

    model: Served
    classes: list[tuple[int, str, float]]
    queue_ms: float
    inference_ms: float


@dataclass(frozen=True)
class Drawn:
    """One picture just drawn, uint8 (H, W, C), and where it came from."""

    model: Served
    pixels: Pixels
    seed: int | None  # None: of no single seed
    label: int | None  # None: of no single class
    truncation: float | None  # None: not drawn from a latent


Each = Callable[[Drawn], Any]  # what a caller wants of every picture; called in the lane that drew it


def its_pixels(drawn: Drawn) -> Pixels:
    """For callers who want nothing but the pictures."""
    return drawn.pixels


@dataclass(frozen=True)
class Walk:
    """Frames as they are drawn, in order, the first of them ready. Close `pieces`, or the rest is drawn for nobody."""

    model: Served
    pieces: AsyncGenerator[Any]
    seeds: Sequence[int | None]
    labels: Sequence[int | None]


@dataclass(frozen=True)
class Drawing:
    """What was made of every picture, in order, and where each came from."""

    model: Served
    pieces: Sequence[Any]
    seeds: Sequence[int | None]
    labels: Sequence[int | None]
    truncation: float | None
    queue_ms: float
    inference_ms: float  # as encode_ms: summed over the lanes that worked on it
    encode_ms: float


@dataclass(frozen=True, eq=False)
class Filled:
    """Ways to fill a hole, and where they differ.

    `drawing`'s pieces are pictures, uint8 (H, W, 3). `disagreement`: standard deviation between them, uint8 (H, W), in 8-bit
    steps; None for a single one.
    """

    drawing: Drawing
    disagreement: Pixels | None


@dataclass(frozen=True, eq=False)
class Projected:
    """The latent of the nearest picture that a model can make, and that picture, the only piece of `drawing`.

    `distance`: root of the mean squared difference at the model's resolution, of a range from 0 (black) to 1 (white).
    """

    z: list[float]
    distance: float
    drawing: Drawing
