"""The averaged generator, which is the one that is sampled, measured and published."""

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a network's parameters, and a copy of its buffers.

    The half-life is in images, so that it means the same at any batch size, and ramps up with `ramp` x images seen, so that
    the random start is forgotten early (as in StyleGAN2-ADA, https://arxiv.org/abs/2006.06676).
    """

    def __init__(self, network: nn.Module, half_life_images: float, ramp: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life_images = half_life_images
        self.ramp = ramp

    @torch.no_grad()
    def update(self, network: nn.Module, batch: int, images_seen: int) -> None:
        """Takes in the network after a step on `batch` images, `images_seen` of them in all."""
        half_life = min(self.half_life_images, images_seen * self.ramp)
        keep = 0.5 ** (batch / max(half_life, 1e-9))
        averaged: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(averaged, current, 1 - keep)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
