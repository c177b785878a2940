"""The U-Net of the families that answer a picture with one of its size.

Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, as Isola et al. 2016 have it, https://arxiv.org/abs/1611.07004.
"""

import itertools
from collections.abc import Callable
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.blocks import Down, leaky
from models.family import TranslatorHParams


class UnetHParams(TranslatorHParams):
    """Hyper-parameters of a U-Net, and of the patches that its discriminator judges."""

    channels: int = Field(3, ge=1, le=4)
    width: int = Field(32, ge=4, le=256)  # feature maps of the outermost layer; they double inwards
    max_width: int = Field(256, ge=8, le=1024)
    depth: int = Field(5, ge=2, le=9)  # how many times the U-Net halves the sides
    d_width: int = Field(32, ge=4, le=256)
    d_halvings: int = Field(3, ge=1, le=5)

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        if self.resolution % self.multiple_of:
            raise ValueError(f"resolution {self.resolution} can't be halved `depth` = {self.depth} times: take a smaller depth")
        return self

    @property
    def multiple_of(self) -> int:
        return int(2**self.depth)

    @property
    def widths(self) -> list[int]:
        """Feature maps of each level, outermost first."""
        return [min(self.width * 2**i, self.max_width) for i in range(self.depth)]

    @property
    def d_widths(self) -> list[int]:
        """Feature maps of the discriminator's halvings."""
        return [self.d_width * 2 ** min(i, 2) for i in range(self.d_halvings)]


class Unet(nn.Module):
    """Down `depth` times and up again but for once: the last way up is the family's own.

    `make_up(a, b)`: a layer (B, a, H, W), and whatever else `inside` is given → (B, b, 2H, 2W).
    """

    def __init__(self, hp: UnetHParams, make_up: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        widths = hp.widths
        self.stem = nn.Conv2d(hp.given_channels, widths[0], kernel_size=4, stride=2, padding=1)
        self.downs = nn.ModuleList(Down(a, b) for a, b in itertools.pairwise(widths))
        self.inner_width = widths[-1]
        ups = []
        for level in reversed(range(len(widths) - 1)):  # each sees what lies below it, and its own level on the way down
            ups.append(make_up(self.inner_width, widths[level]))
            self.inner_width = 2 * widths[level]
        self.ups = nn.ModuleList(ups)

    def inside(self, given: Tensor, *beside: Tensor) -> Tensor:
        """Pictures (B, given_channels, h, w) → (B, inner_width, h / 2, w / 2). h and w are multiples of 2 ** depth."""
        levels = [leaky(self.stem(given))]
        for down in self.downs:
            levels.append(down(levels[-1]))
        inner = levels.pop()
        for up in self.ups:
            inner = torch.cat([up(inner, *beside), levels.pop()], dim=1)
        return inner
