"""Filling holes of any shape: context encoders, Pathak et al. 2016, https://arxiv.org/abs/1604.07379.

The picture and its hole go through a U-Net as in `pix2pix`; what is known is put over the answer, so it can't change.
Departures: holes are of any shape (Liu et al. 2018, https://arxiv.org/abs/1804.07723) and are told to the network as one more
channel; and noise sets the scale and shift of every layer on the way up, so that each seed fills the hole in its own way.
"""

import itertools
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks import Down, FilmNorm, PatchDiscriminator, halvings, leaky
from models.family import Family, TranslatorHParams
from models.tasks import Task


class InpaintHParams(TranslatorHParams):
    """Hyper-parameters of the inpainting family."""

    resolution: int = Field(64, ge=16, le=1024)  # of the pictures that it learned on, px
    channels: int = Field(3, ge=1, le=4)
    z_dim: int = Field(16, ge=1, le=1024)
    width: int = Field(32, ge=4, le=256)  # feature maps of the outermost layer; they double inwards
    max_width: int = Field(256, ge=8, le=1024)
    depth: int = Field(4, ge=2, le=9)  # how many times the U-Net halves the sides
    d_width: int = Field(32, ge=4, le=256)
    d_halvings: int = Field(3, ge=1, le=5)  # 3: patches of 46 px

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        if self.resolution % self.multiple_of:
            raise ValueError(f"resolution {self.resolution} can't be halved `depth` = {self.depth} times: take a smaller depth")
        return self

    @property
    def given_channels(self) -> int:
        return self.channels + 1

    @property
    def noise_dim(self) -> int:
        return self.z_dim

    @property
    def multiple_of(self) -> int:
        return int(2**self.depth)

    @property
    def widths(self) -> list[int]:
        """Feature maps of each level, outermost first."""
        return [min(self.width * 2**i, self.max_width) for i in range(self.depth)]


def with_hole(x: Tensor, hole: Tensor) -> Tensor:
    """Images x (B, C, H, W) in [-1, 1], hole (B, 1, H, W), 1 where nothing is known → (B, C + 1, H, W) for networks."""
    return torch.cat([x * (1 - hole), hole * 2 - 1], dim=1)


class NoisyUp(nn.Module):
    """x (B, a, H, W) and z (B, z_dim) → (B, b, 2H, 2W)."""

    def __init__(self, a: int, b: int, z_dim: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(a, b, kernel_size=4, stride=2, padding=1)
        self.norm = FilmNorm(b, z_dim)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x), z))


class Generator(nn.Module):
    """`with_hole` (B, channels + 1, h, w) and z (B, z_dim) → images (B, channels, h, w) in [-1, 1], the hole filled.

    h and w are multiples of 2 ** depth.
    """

    def __init__(self, hp: InpaintHParams) -> None:
        super().__init__()
        widths = hp.widths
        self.stem = nn.Conv2d(hp.given_channels, widths[0], kernel_size=4, stride=2, padding=1)
        self.downs = nn.ModuleList(Down(a, b) for a, b in itertools.pairwise(widths))
        inner = widths[-1]
        ups = []
        for level in reversed(range(len(widths) - 1)):  # each sees what lies below it, and its own level on the way down
            ups.append(NoisyUp(inner, widths[level], hp.z_dim))
            inner = 2 * widths[level]
        self.ups = nn.ModuleList(ups)
        self.up = NoisyUp(inner, widths[0], hp.z_dim)
        self.to_image = nn.Conv2d(widths[0] + hp.given_channels, hp.channels, kernel_size=3, padding=1)

    def forward(self, given: Tensor, z: Tensor) -> Tensor:
        levels = [leaky(self.stem(given))]
        for down in self.downs:
            levels.append(down(levels[-1]))
        inner = levels.pop()
        for up in self.ups:
            inner = torch.cat([up(inner, z), levels.pop()], dim=1)
        made = torch.tanh(self.to_image(torch.cat([self.up(inner, z), given], dim=1)))
        return torch.where(given[:, -1:] > 0, made, given[:, :-1])


class Discriminator(PatchDiscriminator):
    """Images (B, channels, H, W) in [-1, 1] and the `with_hole` that they fill → logits (B, h, w), one a patch."""

    def __init__(self, hp: InpaintHParams) -> None:
        widths = [hp.d_width * 2 ** min(i, 2) for i in range(hp.d_halvings)]
        flat = nn.Conv2d(widths[-1], widths[-1], kernel_size=3, padding=1)
        layers = [*halvings(hp.channels + 1, widths), flat]
        super().__init__(layers, nn.Conv2d(widths[-1], 1, kernel_size=3, padding=1))

    def features(self, x: Tensor, *beside: Tensor) -> list[Tensor]:
        """What each layer makes of images, first layer first. Of `with_hole` it sees the hole alone."""
        return super().features(x, *(given[:, -1:] for given in beside))


FAMILY = Family(
    name="inpaint",
    task=Task.INPAINTING,
    hparams=InpaintHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1604.07379",
)
