"""What a model can be asked to do, and the exact `forward` that the service may call for it."""

from enum import StrEnum
from typing import Protocol

from torch import Tensor


class Task(StrEnum):
    """The `task` of a model as the HTTP contract spells it."""

    UNCONDITIONAL = "unconditional"
    CONDITIONAL = "conditional"
    CODES = "codes"
    TRANSLATION = "translation"
    SUPER_RESOLUTION = "super-resolution"
    INPAINTING = "inpainting"
    TEXT_TO_IMAGE = "text-to-image"
    TEXT_TO_SPEECH = "text-to-speech"


class UnconditionalGenerator(Protocol):
    """Latents `z` (B, z_dim) → images (B, channels, height, width) in [-1, 1]."""

    def __call__(self, z: Tensor) -> Tensor: ...


class ConditionalGenerator(Protocol):
    """Latents `z` (B, z_dim) and class weights `y` (B, classes) → images (B, channels, height, width) in [-1, 1].

    `y` is a row of weights, not an index: one-hot for a plain label, and a blend of two rows between two labels.
    """

    def __call__(self, z: Tensor, y: Tensor) -> Tensor: ...


class Inpainter(Protocol):
    """Images with a hole (B, channels + 1, h, w), see `models.families.inpaint.with_hole`, and noise (B, noise_dim) → images.

    (B, channels, h, w) in [-1, 1], for any h and w that are multiples of the hyper-parameters' `multiple_of`.
    """

    def __call__(self, given: Tensor, z: Tensor) -> Tensor: ...


class Translator(Protocol):
    """Images x (B, given_channels, h, w) in [-1, 1] → images (B, channels, scale · h, scale · w), about [-1, 1].

    Any h and w that are multiples of the hyper-parameters' `multiple_of`.
    """

    def __call__(self, x: Tensor) -> Tensor: ...
