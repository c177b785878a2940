"""From a picture back to the latent of the nearest one that a generator can make, by descent on the latent.

Projection as in iGAN (Zhu et al. 2016, https://arxiv.org/abs/1609.03552); with a hole in the picture it is semantic
inpainting (Yeh et al. 2017, https://arxiv.org/abs/1607.07539). The generator stays as it is.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 100  # of the whole search
LEG = 20  # steps of one call: a search is a chain of short calls, so that nobody else waits for all of it
RATE = 0.1  # of Adam at the first step, falling along a cosine to nothing
BETAS = (0.9, 0.99)
EPSILON = 1e-8
COARSER = 3  # besides the picture itself, it is compared at a half, a quarter and an eighth of its size
NORMAL = 2e-3  # how much an unlikely latent counts beside the distance
REALISM = 3e-3  # and how much a picture that the discriminator takes for a generated one
START = 0.5  # length of the latents that ways to fill a hole are searched from: half that of a drawn one
NEAR_HOLE = 7  # px: known pixels count by how much of a window of this side is unknown


def context_weights(hole: Tensor) -> Tensor:
    """How much each pixel counts: hole (B, 1, H, W), 1 where nothing is known → (B, 1, H, W), with mean 1 over each picture.

    Nothing inside the hole; outside, more the more of it is near (equation 4 of Yeh et al.). Without a hole, 1 everywhere.
    """
    near = F.avg_pool2d(hole, NEAR_HOLE, stride=1, padding=NEAR_HOLE // 2)
    weights = (1 - hole) * (0.1 + near)
    mean = weights.mean(dim=(1, 2, 3), keepdim=True)
    return torch.where(mean > 0, weights / mean.clamp_min(1e-12), torch.zeros_like(weights))


def distances(made: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean squared differences over several scales, (B,): pictures (B, C, H, W), weights (B, 1, H, W) with mean 1."""
    difference = (made - target) * weights.sqrt()
    total = difference.square().mean(dim=(1, 2, 3))
    for _ in range(COARSER):
        if min(difference.shape[2:]) < 2:
            break
        difference = F.avg_pool2d(difference, 2)
        total = total + difference.square().mean(dim=(1, 2, 3))
    return total


class Descent(nn.Module):
    """One leg of the search, for several pictures at a time, which don't see each other.

    target (B, C, H, W) in [-1, 1], weights (B, 1, H, W), state (B, 3 · z_dim + 1), and for conditional generators y
    (B, classes) → state. The state is all that a search remembers: latent, Adam's two moments, steps done.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module | None) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    def forward(self, target: Tensor, weights: Tensor, state: Tensor, *y: Tensor) -> Tensor:
        z_dim = (state.shape[1] - 1) // 3
        z, first, second, done = (state[:, a:b] for a, b in itertools.pairwise((0, z_dim, 2 * z_dim, 3 * z_dim, 3 * z_dim + 1)))
        for _ in range(LEG):
            gradient = self._gradient(z, target, weights, y)
            done = done + 1
            first = torch.lerp(gradient, first, BETAS[0])
            second = torch.lerp(gradient.square(), second, BETAS[1])
            step = (first / (1 - BETAS[0] ** done)) / ((second / (1 - BETAS[1] ** done)).sqrt() + EPSILON)
            rate = RATE * 0.5 * (1 + torch.cos(torch.pi * ((done - 1) / STEPS).clamp(max=1)))
            z = z - rate * step
        return torch.cat([z, first, second, done], dim=1)

    def _gradient(self, z: Tensor, target: Tensor, weights: Tensor, y: Sequence[Tensor]) -> Tensor:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            made = self.generator(z, *y).float()
            loss = distances(made, target, weights) + NORMAL * z.square().mean(dim=1)
            if self.discriminator is not None:
                loss = loss + REALISM * F.softplus(-self.discriminator(made, *y).float())
            (gradient,) = torch.autograd.grad(loss.sum(), z)
        return gradient


def first_state(z: Tensor) -> Tensor:
    """The state of a search that begins at latents z (B, z_dim)."""
    return torch.cat([z, torch.zeros(len(z), 2 * z.shape[1] + 1, dtype=z.dtype, device=z.device)], dim=1)


def blended(made: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """target (B, C, H, W) with its hole (B, 1, H, W) filled so that the fill's edges meet it (Pérez et al. 2003).

    The fill has the gradients of `made`, and the target's values along the edge: `made` plus a membrane that is stretched over
    the hole. A Poisson equation, solved by conjugate gradients in float64. Without known pixels, `made` itself.
    """
    hole = hole.double()
    offset = (target - made).double() * (1 - hole)
    neighbours = _beside(torch.ones_like(hole))
    membrane = torch.zeros_like(offset)
    residual = _beside(offset) * hole
    direction = residual.clone()
    energy = residual.square().sum(dim=(2, 3), keepdim=True)
    for _ in range(2 * max(hole.shape[2:])):  # information moves by a pixel a round
        stretched = (neighbours * direction - _beside(direction)) * hole
        resisting = (direction * stretched).sum(dim=(2, 3), keepdim=True)
        step = torch.where(resisting > 0, energy / resisting.clamp_min(1e-300), torch.zeros_like(energy))
        membrane = membrane + step * direction
        residual = residual - step * stretched
        before, energy = energy, residual.square().sum(dim=(2, 3), keepdim=True)
        direction = residual + torch.where(before > 0, energy / before.clamp_min(1e-300), torch.zeros_like(energy)) * direction
    return torch.where(hole > 0, made + membrane.to(made.dtype), target)


def _beside(x: Tensor) -> Tensor:
    """The sum of each pixel's four neighbours, those outside counting as nothing."""
    around = F.pad(x, (1, 1, 1, 1))
    return around[:, :, :-2, 1:-1] + around[:, :, 2:, 1:-1] + around[:, :, 1:-1, :-2] + around[:, :, 1:-1, 2:]
