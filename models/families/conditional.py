"""Label-conditional residual generator with a projection discriminator, 28 to 64 px and up.

The discriminator is Miyato & Koyama 2018 (https://arxiv.org/abs/1802.05637), the conditional normalisation follows
BigGAN (https://arxiv.org/abs/1809.11096) in reading both the class and the latent. Departures, made for CPUs: no
BatchNorm anywhere (see `blocks.groups`), no attention, one 3x3 convolution in each residual branch and none at full size,
up-sampling by a 4x4 stride-2 transposed convolution, whose kernel is a multiple of its stride: no checkerboard.
"""

import itertools
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.blocks import SLOPE, FilmNorm, leaky
from models.family import Family, LatentHParams
from models.tasks import Task


class ConditionalHParams(LatentHParams):
    """Hyper-parameters of the label-conditional family."""

    z_dim: int = Field(64, ge=1, le=1024)
    resolution: int = Field(28, ge=8, le=512)  # height and width, px
    channels: int = Field(1, ge=1, le=4)
    classes: int = Field(ge=1, le=10_000)
    embed_dim: int = Field(32, ge=1, le=1024)  # of a class, in the generator
    widths: tuple[int, ...] = Field((128, 64, 32), min_length=2, max_length=8)  # feature maps, smallest picture first
    d_widths: tuple[int, ...] | None = None  # the discriminator's own, as long as `widths`; None: the same
    feature_dim: int = Field(256, ge=8, le=4096)  # of the discriminator's last layer

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        halvings = len(self.widths) - 1
        if self.resolution % 2**halvings or not 4 <= self.base <= 16:
            raise ValueError(
                f"resolution {self.resolution} halved {halvings} times (one less than `widths` has entries) must give a "
                f"whole number from 4 to 16: change the number of `widths`"
            )
        if self.d_widths is not None and len(self.d_widths) != len(self.widths):
            raise ValueError(f"`d_widths` must have {len(self.widths)} entries, as `widths` has")
        return self

    @property
    def base(self) -> int:
        """Side of the smallest feature map, px."""
        return self.resolution >> (len(self.widths) - 1)


class Residual(nn.Module):
    """x (B, width, H, W) plus a 3x3 convolution of `normed` (of x itself, if not given) that starts at zero.

    A zero start makes a block begin as plain re-sampling (R3GAN, https://arxiv.org/abs/2501.05441).
    """

    STARTS_AS_IDENTITY = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel_size=3, padding=1)
        for start in self.conv.parameters():
            nn.init.zeros_(start)

    def forward(self, x: Tensor, normed: Tensor | None = None) -> Tensor:
        branch: Tensor = self.conv(leaky(x if normed is None else normed))
        return x + branch


class UpBlock(nn.Module):
    """Doubles the side of a feature map, then refines it with a residual 3x3 convolution if `refine`."""

    def __init__(self, in_width: int, out_width: int, condition_dim: int, *, refine: bool) -> None:
        super().__init__()
        self.norm1 = FilmNorm(in_width, condition_dim)
        self.up = nn.ConvTranspose2d(in_width, out_width, kernel_size=4, stride=2, padding=1)
        self.norm2 = FilmNorm(out_width, condition_dim) if refine else None
        self.residual = Residual(out_width) if refine else None

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.up(leaky(self.norm1(x, condition)))
        if self.norm2 is None or self.residual is None:
            return x
        refined: Tensor = self.residual(x, self.norm2(x, condition))
        return refined


class Generator(nn.Module):
    """Latents z (B, z_dim), class weights y (B, classes) → images (B, channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, hp: ConditionalHParams) -> None:
        super().__init__()
        self.shape = (hp.widths[0], hp.base, hp.base)
        condition_dim = hp.z_dim + hp.embed_dim
        self.embed = nn.Linear(hp.classes, hp.embed_dim, bias=False)
        nn.init.normal_(self.embed.weight)  # as nn.Embedding: one-hot rows keep unit variance
        self.stem = nn.Linear(condition_dim, hp.widths[0] * hp.base * hp.base)
        steps = list(itertools.pairwise(hp.widths))
        self.blocks = nn.ModuleList(
            # at full size a 3x3 convolution costs as much as anywhere and has the fewest feature maps to work with
            UpBlock(a, b, condition_dim, refine=i < len(steps) - 1)
            for i, (a, b) in enumerate(steps)
        )
        self.norm = FilmNorm(hp.widths[-1], condition_dim)
        self.to_image = nn.Conv2d(hp.widths[-1], hp.channels, kernel_size=3, padding=1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        condition = torch.cat([z, self.embed(y)], dim=1)
        x = self.stem(condition).reshape(-1, *self.shape)
        for block in self.blocks:
            x = block(x, condition)
        return torch.tanh(self.to_image(leaky(self.norm(x, condition))))


class Discriminator(nn.Module):
    """Images x (B, channels, resolution, resolution) in [-1, 1], class weights y (B, classes) → logits (B,)."""

    def __init__(self, hp: ConditionalHParams) -> None:
        super().__init__()
        # the picture goes to half its side at once: 16 pixels fit in the next width
        narrow_to_wide = (hp.d_widths or hp.widths)[-2::-1]
        layers: list[nn.Module] = [nn.Conv2d(hp.channels, narrow_to_wide[0], kernel_size=4, stride=2, padding=1)]
        for a, b in itertools.pairwise((*narrow_to_wide, hp.feature_dim)):
            layers += [Residual(a), nn.LeakyReLU(SLOPE), nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1)]
        self.trunk = nn.Sequential(*layers)
        self.features = nn.Linear(hp.feature_dim * (hp.base // 2) ** 2, hp.feature_dim)
        self.logit = nn.Linear(hp.feature_dim, 1)
        self.embed = nn.Linear(hp.classes, hp.feature_dim, bias=False)
        nn.init.normal_(self.embed.weight, std=hp.feature_dim**-0.5)  # the projection starts no larger than the logit

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = leaky(self.features(leaky(self.trunk(x).flatten(1))))
        logits: Tensor = self.logit(features).squeeze(1) + (features * self.embed(y)).sum(dim=1)
        return logits


FAMILY = Family(
    name="conditional",
    task=Task.CONDITIONAL,
    hparams=ConditionalHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1802.05637",
    extras={"discriminator": Discriminator},
)
