"""Layers that several families use unchanged."""

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
