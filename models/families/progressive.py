"""Progressive GAN: networks that grow from 8 px to full size, and draw every size on the way. Karras et al. 2018.

https://arxiv.org/abs/1710.10196. Training begins with the smallest pictures; each doubling adds a layer to both networks,
which is faded in. Departures:

- A level adds detail to the picture of the level below instead of drawing a new one, as in a Laplacian pyramid (LAPGAN,
  https://arxiv.org/abs/1506.05751), and detail is what averages to nothing over each 2x2 block. So a small picture stays the
  large one made small (but for the bend of the final tanh), however long the large one is trained: nothing of it goes stale.
- The discriminator reads a picture and all smaller copies of it, so it has no part that is thrown away, either.
- GroupNorm in the generator and none in the discriminator, as in `models.families.dcgan`, whose layers these are: no pixel
  norm, 4x4 stride-2 convolutions, and of the equalised learning rate only what `Head` has. Minibatch deviation is a switch,
  `stabilisers.minibatch`.
"""

import itertools
from typing import NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks import Up, doubled, groups, halved, leaky
from models.family import Family, LatentHParams
from models.tasks import Task


class Stage(NamedTuple):
    """How far a network has grown: the side of its pictures, px, and how much of the newest level is faded in, 0 … 1."""

    resolution: int
    alpha: float = 1.0


class ProgressiveHParams(LatentHParams):
    """Hyper-parameters of the progressive family."""

    z_dim: int = Field(64, ge=1, le=1024)
    resolution: int = Field(64, ge=8, le=1024)  # of the largest pictures: height and width, px
    smallest: int = Field(8, ge=4, le=64, multiple_of=2)  # the same of the smallest
    channels: int = Field(3, ge=1, le=4)
    widths: tuple[int, ...] = Field((256, 128, 64, 32), min_length=1, max_length=9)  # feature maps a level, smallest first

    @model_validator(mode="after")
    def _doubles_evenly(self) -> Self:
        if self.smallest << (len(self.widths) - 1) != self.resolution:
            raise ValueError(
                f"{self.smallest} px doubled {len(self.widths) - 1} times (one less than `widths` has entries) is not "
                f"{self.resolution} px: change `smallest` or the number of `widths`"
            )
        return self

    @property
    def resolutions(self) -> tuple[int, ...]:
        return tuple(self.smallest << level for level in range(len(self.widths)))

    def at(self, resolution: int) -> Self:
        levels = self.resolutions.index(resolution) + 1
        return self.model_copy(update={"resolution": resolution, "widths": self.widths[:levels]})


class Head(nn.Module):
    """Feature maps (B, width, H, W) → pictures or detail (B, channels, 2H, 2W).

    Adam moves all weights equally far, so that a head which sums over more maps would move its pictures faster: each is slowed
    to the pace of one that reads `PACE`, the equalised learning rate where it is needed. (Without it, 8-px faces from 256 maps
    were saturated noise after 10,000 pictures; with it they were faces.)
    """

    PACE = 32

    def __init__(self, width: int, channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(width, channels, kernel_size=4, stride=2, padding=1, bias=bias)
        self.gain = self.PACE / width

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv(x) * self.gain
        return made


class Generator(nn.Module):
    """Latents z (B, z_dim) → images (B, channels, resolution, resolution) in [-1, 1], of `stage` (default: full-grown).

    While a level fades in, its picture is mixed with the doubled one of the level below. A generator with fewer `widths` has
    the first of these weights, and draws the smaller pictures: see `LatentHParams.at`.
    """

    def __init__(self, hp: ProgressiveHParams) -> None:
        super().__init__()
        self.grown = Stage(hp.resolution)
        first = hp.widths[0]
        self.stem = nn.ConvTranspose2d(hp.z_dim, first, kernel_size=hp.smallest // 2)  # 1x1 → half the smallest picture
        self.norm = nn.GroupNorm(groups(first), first)
        self.ups = nn.ModuleList(Up(a, b) for a, b in itertools.pairwise(hp.widths))
        self.to_image = Head(first, hp.channels)
        self.to_detail = nn.ModuleList(Head(width, hp.channels, bias=False) for width in hp.widths[1:])
        for parameter in self.to_detail.parameters():
            nn.init.zeros_(parameter)  # a level begins as the picture below, and not with noise on it

    def forward(self, z: Tensor, stage: Stage | None = None) -> Tensor:
        resolution, alpha = stage or self.grown
        x = F.relu(self.norm(self.stem(z[:, :, None, None])))
        below = image = self.to_image(x)
        for up, to_detail in zip(self.ups, self.to_detail, strict=True):
            if image.shape[-1] == resolution:
                break
            x = up(x)
            detail = to_detail(x)
            below = doubled(image)
            image = below + detail - doubled(halved(detail))
        grown: Tensor = image.tanh()
        return grown if alpha == 1 else torch.lerp(below.tanh(), grown, alpha)


class Discriminator(nn.Module):
    """Images x (B, channels, r, r) in [-1, 1], r any of the resolutions → logits (B,). Of `stage` only `alpha` counts.

    While the newest level fades in, at `alpha` 0 the logits are those of the half-size pictures.
    """

    def __init__(self, hp: ProgressiveHParams) -> None:
        super().__init__()
        self.resolutions = hp.resolutions
        self.entries = nn.ModuleList(nn.Conv2d(hp.channels, w, kernel_size=4, stride=2, padding=1) for w in hp.widths)
        self.downs = nn.ModuleList(
            nn.Conv2d(b, a, kernel_size=4, stride=2, padding=1, bias=False) for a, b in itertools.pairwise(hp.widths)
        )
        self.head = nn.Conv2d(hp.widths[0], 1, kernel_size=hp.smallest // 2)

    def forward(self, x: Tensor, stage: Stage | None = None) -> Tensor:
        level = self.resolutions.index(x.shape[-1])
        alpha = stage.alpha if stage else 1.0
        features = self.entries[level](x)
        for i in reversed(range(level)):
            x = halved(x)
            features = self.entries[i](x) + alpha * self.downs[i](leaky(features))
            alpha = 1.0  # only the newest level fades
        logits: Tensor = self.head(leaky(features))
        return logits.flatten()


FAMILY = Family(
    name="progressive",
    task=Task.UNCONDITIONAL,
    hparams=ProgressiveHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1710.10196",
    extras={"discriminator": Discriminator},
)
