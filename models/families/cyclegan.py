"""Picture to picture, learnt without pairs, both ways in one entry: CycleGAN, Zhu et al. 2017, https://arxiv.org/abs/1703.10593.

Residual blocks between two strided convolutions and two transposed ones. Departures, made for CPUs: GroupNorm instead of
InstanceNorm, 3x3 convolutions where the paper has 7x7, fewer feature maps at full size; and the answer is a change to the
picture given, for most of a horse's meadow is a zebra's.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks import PatchDiscriminator, groups, halvings
from models.family import Family, TranslatorHParams
from models.tasks import Task


class CycleganHParams(TranslatorHParams):
    """Hyper-parameters of the unpaired translation family."""

    resolution: int = Field(64, ge=16, le=1024)  # of the pictures that it learned on, px
    channels: int = Field(3, ge=1, le=4)
    widths: tuple[int, int, int] = (16, 48, 96)  # feature maps at full, half and quarter size
    blocks: int = Field(6, ge=1, le=16)
    d_width: int = Field(32, ge=4, le=256)
    d_halvings: int = Field(3, ge=1, le=5)  # 3: patches of 70 px, as in the paper; 2: of 34

    @property
    def multiple_of(self) -> int:
        return 4


class Norm(nn.GroupNorm):
    """GroupNorm with the groups that all families have."""

    def __init__(self, channels: int) -> None:
        super().__init__(groups(channels), channels)


class Block(nn.Module):
    """x (B, width, h, w) plus two 3x3 convolutions of it, the second of which starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.norm = Norm(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.conv2(F.relu(self.norm(self.conv1(x))))
        return x + branch


class Generator(nn.Module):
    """Images x (B, channels, h, w) in [-1, 1] → the same in the other domain, (B, channels, h, w) in [-1, 1]."""

    def __init__(self, hp: CycleganHParams) -> None:
        super().__init__()
        full, half, quarter = hp.widths
        self.down = nn.Sequential(
            nn.Conv2d(hp.channels, full, kernel_size=3, padding=1), Norm(full), nn.ReLU(),
            nn.Conv2d(full, half, kernel_size=4, stride=2, padding=1), Norm(half), nn.ReLU(),
            nn.Conv2d(half, quarter, kernel_size=4, stride=2, padding=1),
        )  # fmt: skip
        self.blocks = nn.Sequential(*(Block(quarter) for _ in range(hp.blocks)))
        self.up = nn.Sequential(
            Norm(quarter), nn.ReLU(),
            nn.ConvTranspose2d(quarter, half, kernel_size=4, stride=2, padding=1), Norm(half), nn.ReLU(),
            nn.ConvTranspose2d(half, full, kernel_size=4, stride=2, padding=1), Norm(full), nn.ReLU(),
            nn.Conv2d(full, hp.channels, kernel_size=3, padding=1),
        )  # fmt: skip

    def features(self, x: Tensor) -> list[Tensor]:
        """What the way down makes of images: maps at full, half and quarter size, and behind a third of the blocks."""
        maps = []
        for layer in self.down:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return [*maps, x, self.blocks[: len(self.blocks) // 3](x)]

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.up(self.blocks(self.down(x)))
        # the artanh of what was given, so that no change is no change; short of ±1, where it has no end
        return torch.tanh(change + torch.atanh(x * 0.95))


class Discriminator(PatchDiscriminator):
    """Images x (B, channels, H, W) in [-1, 1] → logits (B, h, w), one for each patch."""

    def __init__(self, hp: CycleganHParams) -> None:
        widths = [hp.d_width * 2 ** min(i, 2) for i in range(hp.d_halvings)]
        super().__init__(halvings(hp.channels, widths), nn.Conv2d(widths[-1], 1, kernel_size=4, padding=1))


FAMILY = Family(
    name="cyclegan",
    task=Task.TRANSLATION,
    hparams=CycleganHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1703.10593",
    extras={"back": Generator},  # from the second domain to the first
)
