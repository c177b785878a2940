"""PacGAN: a discriminator that judges several pictures of one kind at once. Lin et al. 2018, https://arxiv.org/abs/1712.04086.

A pack from a generator that draws too few things is easier to tell from a real one than any of its pictures is.
"""

from typing import Any

from torch import Tensor, nn


def pack(x: Tensor, size: int) -> Tensor:
    """Pictures (B, C, H, W) or points (B, D) → packs of neighbours (B / size, size·C, H, W) or (B / size, size·D)."""
    return x.reshape(-1, size, *x.shape[1:]).flatten(1, 2)


class Packed(nn.Module):
    """Pictures (B, C, H, W) or points (B, D) → logits (B / size,), by a discriminator of `size` times as many channels."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, x: Tensor, *beside: Any) -> Tensor:
        logits: Tensor = self.network(pack(x, self.size), *beside)
        return logits
