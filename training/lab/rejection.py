"""Discriminator rejection sampling: what a generator draws between modes is thrown away by a discriminator that knows better.

Azadi et al. 2019, https://arxiv.org/abs/1810.06758: the best discriminator's logit is the logarithm of how much denser real
points are than generated ones, so keeping a point with probability proportional to its exponential gives real ones. The
discriminator of the training is near indifferent by its end; here a fresh one learns to tell real points from those of the
finished generator.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from training.lab.networks import Waves, perceptron

WAVES = 7  # octaves: it has to see details of a hundredth of the whole
BATCH, RATE = 512, 2e-3
CERTAIN = 0.999  # points with a logit above this quantile of generated ones are kept always


def learn(real: torch.Tensor, fake: torch.Tensor, steps: int, reach: float, generator: torch.Generator) -> nn.Module:
    """A discriminator of real (N, D) and generated (M, D) points, trained on batches of both at a rate that falls to 0."""
    size = real.shape[1]
    sizes = (size * (1 + 2 * WAVES), 64, 64, 1)
    network = perceptron(sizes, "relu", [generator], squeeze=True, before=[Waves(WAVES, 2 * reach, fall=1.0)])
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for _ in range(steps):
        shown = (points[torch.randint(len(points), (BATCH,), generator=generator)] for points in (real, fake))
        of_real, of_fake = (network(points) for points in shown)
        optimizer.zero_grad()
        torch.autograd.backward(softplus(-of_real).mean() + softplus(of_fake).mean())
        optimizer.step()
        falling.step()
    return network


@torch.no_grad()
def kept(network: nn.Module, fake: torch.Tensor, generator: torch.Generator) -> np.ndarray:
    """Which generated points (N, D) stay: bool (N,)."""
    logits = network(fake)
    chance = (logits - torch.quantile(logits, CERTAIN)).exp()
    stay: np.ndarray = (torch.rand(len(fake), generator=generator) < chance).numpy()
    return stay
