"""Adversarial losses and regularizers as pure functions of logits and pictures.

Every pair takes logits (B,) and returns scalars to be minimised: `discriminator(real, fake)` and `generator(real, fake)`.
Logits, never probabilities: the logarithm of a saturated sigmoid is NaN, `softplus` of a logit is not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm

from training.config import LossConfig


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


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)]: the critic of Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875.

    Minus this is a distance between the distributions only for a critic that something bounds: clipping as in that paper, or
    `slope_penalty`.
    """
    return fake.mean() - real.mean()


def wasserstein_g(real: Tensor, fake: Tensor) -> Tensor:
    """-E[D(G(z))]."""
    return -fake.mean()


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
    "wasserstein": AdversarialLoss(wasserstein_d, wasserstein_g),
    "relativistic": AdversarialLoss(relativistic_d, relativistic_g),
}


def adversarial_loss(config: LossConfig) -> AdversarialLoss:
    """The pair that a config asks for, with the labels of real pictures smoothed if it says so.

    One-sided label smoothing, section 3.4 of Salimans et al. 2016 (https://arxiv.org/abs/1606.03498): real pictures are called
    1 - `label_smoothing` instead of 1. Generated ones stay 0, or the best discriminator would hold generated pictures for
    likelier the more of them there are; and the generator still aims at 1.
    """
    pair, amount = LOSSES[config.adversarial], config.label_smoothing
    if not amount:
        return pair

    def smoothed(real: Tensor, fake: Tensor) -> Tensor:
        if config.adversarial == "least-squares":
            return ((real - (1 - amount)).square().mean() + fake.square().mean()) / 2
        of_real = (1 - amount) * softplus(-real) + amount * softplus(real)
        return of_real.mean() + softplus(fake).mean()

    return replace(pair, discriminator=smoothed)


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E[‖∇ₓD(x)‖²], summed over pixels (or features) and averaged over the batch: R1 on real pictures, R2 on generated ones.

    Mescheder et al. 2018, https://arxiv.org/abs/1801.04406. `images` must require grad and `logits` (B,) come from them, in
    float32: squared gradients lose too much in bfloat16. Weight with γ/2.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def slope_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E[(‖∇ₓD(x)‖ - 1)²], the norm taken over all pixels that a logit came from. Weight with λ (10 in the paper).

    Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028: `images` lie between real and generated ones, see `between`. They
    must require grad and `logits` (B,) come from them, in float32.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    slopes = torch.linalg.vector_norm(gradient.reshape(len(logits), -1), dim=1)
    penalty: Tensor = (slopes - 1).square().mean()
    return penalty


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Pictures (B, …) on the lines from real to generated ones, at `share` (B,) of the way. They require grad."""
    return torch.lerp(real.detach(), fake.detach(), share.reshape(-1, *[1] * (real.dim() - 1))).requires_grad_()


def normalise_spectrally(network: nn.Module) -> None:
    """Puts spectral norm on every convolution and linear layer, in place. Miyato et al. 2018, https://arxiv.org/abs/1802.05957.

    Its power-iteration vectors are buffers of the network, so they are saved and resumed with it. A layer that starts at zero
    has no norm to divide by: it gets PyTorch's own start.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if not layer.weight.any():
                layer.reset_parameters()
            spectral_norm(layer)
