"""InfoGAN: latents of which some numbers mean something. Chen et al. 2016, https://arxiv.org/abs/1606.03657.

The generator is that of `conditional`, whose classes are a code instead of a label: nobody tells it which digit is which. A
recogniser learns to read the codes of generated pictures, and the generator to write them legibly. Departures: no BatchNorm
(see `blocks.groups`); the recogniser is a network of its own, where the paper's shares the discriminator's layers, whose
gradient penalties it would have to bear.
"""

import itertools
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.blocks import SLOPE, leaky
from models.codes import category, uniform
from models.families import conditional
from models.family import Family, LatentHParams
from models.tasks import Task


class InfoGanHParams(LatentHParams):
    """Hyper-parameters of InfoGAN. `z` is noise, then one number for the category, then one for each continuous code."""

    z_dim: int = Field(65, ge=3, le=1024)
    resolution: int = Field(28, ge=8, le=512)  # height and width, px
    channels: int = Field(1, ge=1, le=4)
    categories: int = Field(10, ge=2, le=1000)
    continuous: int = Field(2, ge=0, le=16)
    embed_dim: int = Field(32, ge=1, le=1024)  # of a category, in the generator
    widths: tuple[int, ...] = Field((128, 64, 32), min_length=2, max_length=8)  # feature maps, smallest picture first
    feature_dim: int = Field(256, ge=8, le=4096)  # of the last layer of discriminator and recogniser

    @model_validator(mode="after")
    def _has_noise(self) -> Self:
        if self.noise_dim < 1:
            raise ValueError(f"z_dim {self.z_dim} leaves nothing for noise beside {self.codes} codes")
        _ = self.inner
        return self

    @property
    def codes(self) -> int:
        """How many of the last numbers of `z` are codes."""
        return 1 + self.continuous

    @property
    def noise_dim(self) -> int:
        """How many of the first are noise."""
        return self.z_dim - self.codes

    @property
    def inner(self) -> conditional.ConditionalHParams:
        """Of the generator inside, to which continuous codes are latents and the category is a class."""
        return conditional.ConditionalHParams(
            z_dim=self.z_dim - 1,
            resolution=self.resolution,
            channels=self.channels,
            classes=self.categories,
            embed_dim=self.embed_dim,
            widths=self.widths,
            feature_dim=self.feature_dim,
        )


class Generator(nn.Module):
    """Latents z (B, z_dim) → images (B, channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, hp: InfoGanHParams) -> None:
        super().__init__()
        self.hp = hp
        self.inner = conditional.Generator(hp.inner)

    def forward(self, z: Tensor) -> Tensor:
        noise, chosen, degrees = torch.split(z, [self.hp.noise_dim, 1, self.hp.continuous], dim=1)
        latent = torch.cat([noise, degrees_of(degrees)], dim=1)
        images: Tensor = self.inner(latent, category(chosen[:, 0], self.hp.categories))
        return images


def degrees_of(z: Tensor) -> Tensor:
    """Coordinates of continuous codes (B, n) → what they mean, in (-1, 1)."""
    return uniform(z) * 2 - 1


class Discriminator(nn.Module):
    """Images x (B, channels, resolution, resolution) in [-1, 1] → logits (B,)."""

    def __init__(self, hp: InfoGanHParams) -> None:
        super().__init__()
        self.trunk = trunk(hp)
        self.logit = nn.Linear(hp.feature_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.logit(leaky(self.trunk(x)))
        return logits.squeeze(1)


class Recogniser(nn.Module):
    """Images x (B, channels, resolution, resolution) in [-1, 1] → logits of the category, then continuous codes (B, K + n)."""

    def __init__(self, hp: InfoGanHParams) -> None:
        super().__init__()
        self.trunk = trunk(hp)
        self.codes = nn.Linear(hp.feature_dim, hp.categories + hp.continuous)

    def forward(self, x: Tensor) -> Tensor:
        read: Tensor = self.codes(leaky(self.trunk(x)))
        return read


def trunk(hp: InfoGanHParams) -> nn.Sequential:
    """Images → features (B, feature_dim): strided convolutions, each twice as wide as the one before."""
    widths = (hp.channels, *hp.widths[::-1])
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    side = hp.resolution >> len(hp.widths)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * side * side, hp.feature_dim))


FAMILY = Family(
    name="infogan",
    task=Task.CODES,
    hparams=InfoGanHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1606.03657",
    extras={"discriminator": Discriminator, "recogniser": Recogniser},
)
