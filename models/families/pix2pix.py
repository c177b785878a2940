"""Picture to picture, learnt from pairs: pix2pix, Isola et al. 2016, https://arxiv.org/abs/1611.07004.

A U-Net answers, and a discriminator looks at patches of question and answer together. Departures: GroupNorm instead of
BatchNorm, and no dropout: the reference implementation runs its generator in training mode for the noise that these give, so
that its answer depends on what else is in the batch and is another one every time. Here the same picture gets the same answer.
"""

import itertools
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.blocks import Down, PatchDiscriminator, Up, halvings, leaky
from models.family import Family, TranslatorHParams
from models.tasks import Task


class Pix2pixHParams(TranslatorHParams):
    """Hyper-parameters of the paired translation family."""

    resolution: int = Field(128, ge=16, le=1024)  # of the pictures that it learned on, px
    channels: int = Field(3, ge=1, le=4)
    in_channels: int = Field(3, ge=1, le=4)
    width: int = Field(32, ge=4, le=256)  # feature maps of the outermost layer; they double inwards
    max_width: int = Field(256, ge=8, le=1024)
    depth: int = Field(5, ge=2, le=9)  # how many times the U-Net halves the sides
    d_width: int = Field(32, ge=4, le=256)
    d_halvings: int = Field(3, ge=1, le=5)  # 3: patches of 70 px, as in the paper; 2: of 34

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        if self.resolution % self.multiple_of:
            raise ValueError(f"resolution {self.resolution} can't be halved `depth` = {self.depth} times: take a smaller depth")
        return self

    @property
    def given_channels(self) -> int:
        return self.in_channels

    @property
    def multiple_of(self) -> int:
        return int(2**self.depth)

    @property
    def widths(self) -> list[int]:
        """Feature maps of each level, outermost first."""
        return [min(self.width * 2**i, self.max_width) for i in range(self.depth)]


class Generator(nn.Module):
    """Images x (B, in_channels, h, w) in [-1, 1] → (B, channels, h, w) in [-1, 1]; h and w are multiples of 2 ** depth."""

    def __init__(self, hp: Pix2pixHParams) -> None:
        super().__init__()
        widths = hp.widths
        self.stem = nn.Conv2d(hp.in_channels, widths[0], kernel_size=4, stride=2, padding=1)
        self.downs = nn.ModuleList(Down(a, b) for a, b in itertools.pairwise(widths))
        inner = widths[-1]
        ups = []
        for level in reversed(range(len(widths) - 1)):  # each sees what lies below it, and its own level on the way down
            ups.append(Up(inner, widths[level]))
            inner = 2 * widths[level]
        self.ups = nn.ModuleList(ups)
        self.to_image = nn.ConvTranspose2d(inner, hp.channels, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [leaky(self.stem(x))]
        for down in self.downs:
            levels.append(down(levels[-1]))
        inner = levels.pop()
        for up in self.ups:
            inner = torch.cat([up(inner), levels.pop()], dim=1)
        return torch.tanh(self.to_image(inner))


class Discriminator(PatchDiscriminator):
    """Images (B, channels, H, W) and what they answer (B, in_channels, H, W), in [-1, 1] → logits (B, h, w), one a patch."""

    def __init__(self, hp: Pix2pixHParams) -> None:
        widths = [hp.d_width * 2 ** min(i, 2) for i in range(hp.d_halvings)]
        flat = nn.Conv2d(widths[-1], widths[-1], kernel_size=4, padding=1)
        layers = [*halvings(hp.channels + hp.in_channels, widths), flat]
        super().__init__(layers, nn.Conv2d(widths[-1], 1, kernel_size=4, padding=1))


FAMILY = Family(
    name="pix2pix",
    task=Task.TRANSLATION,
    hparams=Pix2pixHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1611.07004",
)
