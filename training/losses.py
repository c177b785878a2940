"""Adversarial losses and regularizers as pure functions of logits and pictures.

Every pair takes logits (B,) and returns scalars to be minimised: `discriminator(real, fake)` and `generator(real, fake)`.
Logits, never probabilities: the logarithm of a saturated sigmoid is NaN, `softplus` of a logit is not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm


def minimax_d(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))]: equation 1 of Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661."""
    return softplus(-real).mean() + softplus(fake).mean()


def minimax_g(real: Tensor, fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))]: the zero-sum generator loss, whose gradient vanishes where D is sure. For study."""
    return -softplus(fake).mean()


def non_saturating_g(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(G(z))]: section 3 of Goodfellow et al. 2014. Its discriminator loss is `minimax_d`."""
    return softplus(-fake).mean()


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]: Lim & Ye 2017, https://arxiv.org/abs/1705.02894."""
    return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()


def hinge_g(real: Tensor, fake: Tensor) -> Tensor:
    """-E[D(G(z))]."""
    return -fake.mean()


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    """½E[(D(x) - 1)²] + ½E[D(G(z))²]: Mao et al. 2017, https://arxiv.org/abs/1611.04076, equation 9."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def least_squares_g(real: Tensor, fake: Tensor) -> Tensor:
    """½E[(D(G(z)) - 1)²]."""
    return (fake - 1).square().mean() / 2


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-(D(x) - D(G(z))))], real and fake paired: RpGAN as in R3GAN, https://arxiv.org/abs/2501.05441."""
    return softplus(fake - real).mean()


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    """E[softplus(-(D(G(z)) - D(x)))]: the mirror image of `relativistic_d`."""
    return softplus(real - fake).mean()


@dataclass(frozen=True)
class AdversarialLoss:
    """A discriminator's loss and its generator's, each a function of (real logits, fake logits)."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


LOSSES: dict[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(minimax_d, minimax_g),
    "non-saturating": AdversarialLoss(minimax_d, non_saturating_g),
    "hinge": AdversarialLoss(hinge_d, hinge_g),
    "least-squares": AdversarialLoss(least_squares_d, least_squares_g),
    "relativistic": AdversarialLoss(relativistic_d, relativistic_g),
}


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E[‖∇ₓD(x)‖²], summed over pixels (or features) and averaged over the batch: R1 on real pictures, R2 on generated ones.

    Mescheder et al. 2018, https://arxiv.org/abs/1801.04406. `images` must require grad and `logits` (B,) come from them, in
    float32: squared gradients lose too much in bfloat16. Weight with γ/2.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def normalise_spectrally(network: nn.Module) -> None:
    """Puts spectral norm on every convolution and linear layer, in place. Miyato et al. 2018, https://arxiv.org/abs/1802.05957.

    Its power-iteration vectors are buffers of the network, so they are saved and resumed with it.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(layer)
