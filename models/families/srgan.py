"""Super-resolution of any picture by a fixed factor. SRGAN, Ledig et al. 2017, https://arxiv.org/abs/1609.04802.

The generator works at low resolution (residual blocks, then one pixel shuffle: ESPCN, https://arxiv.org/abs/1609.05158) and
only adds what bicubic up-sampling lacks. Departures: no BatchNorm, as EDSR showed (https://arxiv.org/abs/1707.02921); and its
answer, scaled down again, is the picture that it was given (back-projection, Irani & Peleg 1991): details are invented, what
was seen is kept. The discriminator sees patches.
"""

import functools
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks import PatchDiscriminator, halvings
from models.family import Family, TranslatorHParams
from models.tasks import Task

LINE = 49  # pixels of the line on which the filter is worked out
REACH = 16  # low-resolution px. On paper twice or thrice that; measured, 8 px further out change nothing by a whole 8-bit step
TAPS_BESIDE = 6  # of the filter, on either side: the rest is below a thousandth


class SrganHParams(TranslatorHParams):
    """Hyper-parameters of the super-resolution family."""

    resolution: int = Field(128, ge=8, le=1024)  # of the answers that it learned on, px
    channels: int = Field(3, ge=1, le=4)
    factor: Literal[2, 4, 8] = 4
    width: int = Field(48, ge=4, le=256)  # feature maps
    blocks: int = Field(8, ge=1, le=64)
    projections: int = Field(3, ge=0, le=8)  # rounds of making the answer agree with what was given
    d_width: int = Field(32, ge=4, le=256)  # feature maps of the discriminator's first layer

    @property
    def scale(self) -> int:
        return self.factor

    @property
    def reach(self) -> int:
        return REACH


def shrink(hr: Tensor, scale: int) -> Tensor:
    """Images (B, C, H, W) → (B, C, H / scale, W / scale), bicubic with antialiasing: how low resolution comes about."""
    small: Tensor = F.interpolate(hr, scale_factor=1 / scale, mode="bicubic", antialias=True, align_corners=False)
    return small


def enlarge(lr: Tensor, scale: int) -> Tensor:
    """Images (B, C, h, w) → (B, C, h · scale, w · scale), bicubic."""
    large: Tensor = F.interpolate(lr, scale_factor=scale, mode="bicubic", align_corners=False)
    return large


@functools.cache
def unblurring(scale: int) -> tuple[float, ...]:
    """The filter that undoes what enlarging and then shrinking does to a line of low-resolution pixels."""
    impulse = torch.zeros(1, 1, LINE, LINE, dtype=torch.float64, device="cpu")
    impulse[0, 0, LINE // 2, LINE // 2] = 1
    response = shrink(enlarge(impulse, scale), scale)[0, 0, LINE // 2]
    response = response / response.sum()
    blur = torch.stack([response.roll(i - LINE // 2) for i in range(LINE)])
    taps = torch.linalg.solve(blur, impulse[0, 0, LINE // 2])[LINE // 2 - TAPS_BESIDE : LINE // 2 + TAPS_BESIDE + 1]
    return tuple((taps / taps.sum()).tolist())


def agree(hr: Tensor, lr: Tensor, scale: int) -> Tensor:
    """hr (B, C, scale · h, scale · w), changed as smoothly as can be so that `shrink` of it is nearly lr (B, C, h, w).

    Two rounds bring even white noise to a thirtieth of an 8-bit step.
    """
    missing = lr - shrink(hr, scale)
    channels, beside = lr.shape[1], TAPS_BESIDE
    taps = missing.new_tensor(unblurring(scale)).view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    missing = F.conv2d(F.pad(missing, (beside, beside, 0, 0), mode="replicate"), taps, groups=channels)
    missing = F.conv2d(F.pad(missing, (0, 0, beside, beside), mode="replicate"), taps.transpose(2, 3), groups=channels)
    return hr + enlarge(missing, scale)


class Block(nn.Module):
    """x (B, width, h, w) plus two 3x3 convolutions of it, the second of which starts at zero."""

    STARTS_AS_IDENTITY = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        for start in self.conv2.parameters():
            nn.init.zeros_(start)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.conv2(torch.relu(self.conv1(x)))
        return x + branch


class Generator(nn.Module):
    """Images lr (B, channels, h, w) in [-1, 1] → (B, channels, scale · h, scale · w), about [-1, 1], for any h and w."""

    def __init__(self, hp: SrganHParams) -> None:
        super().__init__()
        self.scale, self.projections = hp.scale, hp.projections
        self.head = nn.Conv2d(hp.channels, hp.width, kernel_size=3, padding=1)
        self.body = nn.Sequential(*(Block(hp.width) for _ in range(hp.blocks)))
        self.tail = nn.Conv2d(hp.width, hp.channels * hp.scale**2, kernel_size=3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        features = self.head(lr)
        features = features + self.body(features)
        hr = F.pixel_shuffle(self.tail(features), self.scale) + enlarge(lr, self.scale)
        for _ in range(self.projections):
            hr = agree(hr.clamp(-1, 1), lr, self.scale)  # what 8 bits can't hold is made up for nearby
        return hr


class Discriminator(PatchDiscriminator):
    """Images hr (B, channels, H, W) in [-1, 1] → logits (B, h, w), one for each patch of about 70 px."""

    def __init__(self, hp: SrganHParams) -> None:
        widths = [hp.d_width * k for k in (1, 2, 4, 4)]
        stem = nn.Conv2d(hp.channels, widths[0], kernel_size=3, padding=1)
        logit = nn.Conv2d(widths[-1], 1, kernel_size=3, padding=1)
        super().__init__([stem, *halvings(widths[0], widths[1:])], logit)


FAMILY = Family(
    name="srgan",
    task=Task.SUPER_RESOLUTION,
    hparams=SrganHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1609.04802",
    extras={"faithful": Generator},  # the weights that minimise the distance alone
)
