"""Layers that several families use unchanged."""

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of every leaky ReLU, as in DCGAN and everything after it


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU with the slope that all families share."""
    return F.leaky_relu(x, SLOPE)


def groups(channels: int) -> int:
    """How many groups a GroupNorm over `channels` gets: 8 channels a group where they divide evenly, else one group.

    GroupNorm rather than BatchNorm throughout: a picture must not depend on its neighbours in a batch, and there are
    no running statistics that an averaged generator could get wrong.
    """
    return channels // 8 if channels % 8 == 0 else 1


def halved(x: Tensor) -> Tensor:
    """x (B, C, H, W) → (B, C, H / 2, W / 2): the mean of each 2x2 block."""
    return F.avg_pool2d(x, 2)


def doubled(x: Tensor) -> Tensor:
    """x (B, C, H, W) → (B, C, 2H, 2W): each value as a 2x2 block, so that `halved` gives x back."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class FilmNorm(nn.Module):
    """GroupNorm whose scale and shift are read from a condition vector (FiLM, https://arxiv.org/abs/1709.07871).

    x (B, C, H, W), condition (B, D) → (B, C, H, W).
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups(channels), channels, affine=False)
        self.film = nn.Linear(condition_dim, channels * 2)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class Down(nn.Module):
    """x (B, a, H, W) → (B, b, H / 2, W / 2)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1)
        self.norm = nn.GroupNorm(groups(b), b)

    def forward(self, x: Tensor) -> Tensor:
        return leaky(self.norm(self.conv(x)))


class Up(nn.Module):
    """x (B, a, H, W) → (B, b, 2H, 2W)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(a, b, kernel_size=4, stride=2, padding=1)
        self.norm = nn.GroupNorm(groups(b), b)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def halvings(channels: int, widths: Sequence[int]) -> list[nn.Conv2d]:
    """Convolutions of images (B, channels, H, W), each to half the height and width, and to `widths` maps in turn."""
    return [nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1) for a, b in itertools.pairwise((channels, *widths))]


class PatchDiscriminator(nn.Module):
    """Images x (B, channels, H, W) in [-1, 1], and what is seen beside them → logits (B, h, w), one for each patch.

    PatchGAN, Isola et al. 2016, https://arxiv.org/abs/1611.07004. `layers` and `logit`: the convolutions; none is normalised.
    """

    def __init__(self, layers: Iterable[nn.Conv2d], logit: nn.Conv2d) -> None:
        super().__init__()
        self.layers, self.logit = nn.ModuleList(layers), logit

    def features(self, x: Tensor, *beside: Tensor) -> list[Tensor]:
        """What each layer makes of images, first layer first."""
        maps, seen = [], torch.cat([x, *beside], dim=1)
        for layer in self.layers:
            seen = leaky(layer(seen))
            maps.append(seen)
        return maps

    def read(self, maps: list[Tensor]) -> Tensor:
        """`features` → logits."""
        logits: Tensor = self.logit(maps[-1])
        return logits.squeeze(1)

    def forward(self, x: Tensor, *beside: Tensor) -> Tensor:
        return self.read(self.features(x, *beside))
