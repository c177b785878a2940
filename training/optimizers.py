"""The optimizers that a config can ask for."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from training.config import OptimizerConfig

STEEPNESS = 3.4445, -4.7750, 2.0315  # of the quintic that brings singular values near 1, by the author of Muon
ITERATIONS = 5
LEAST = 16  # rows and columns of a weight that is moved as a matrix: thinner ones have little to equalise
USUAL = 0.2  # root mean square of Adam's steps, in learning rates: so a matrix moves as far as Adam would move it


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig, rate: float | None = None) -> Optimizer:
    """An optimizer of `parameters` at `rate` (`config.learning_rate` if not given).

    Adam: Kingma & Ba 2015, https://arxiv.org/abs/1412.6980. SGD: plain descent, with `momentum` if asked for. RMSProp: Hinton's
    lecture 6e, which the first Wasserstein GAN was trained with (https://arxiv.org/abs/1701.07875, section 4). Muon: see there.
    """
    rate = rate or config.learning_rate
    if config.algorithm == "adam":
        return Adam(parameters, lr=rate, betas=config.betas, fused=True)
    if config.algorithm == "muon":
        return Muon(parameters, rate, config.betas, config.momentum)
    if config.algorithm == "sgd":
        return SGD(parameters, lr=rate, momentum=config.momentum, fused=True)
    return RMSprop(parameters, lr=rate, momentum=config.momentum)


class Muon(Adam):
    """Momentum whose step, for every weight that is a matrix, is made orthogonal first; the other weights are left to Adam.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the size of a step as in Liu et al. 2025,
    https://arxiv.org/abs/2502.16982: much longer ones leave units behind that no picture wakes. A convolution's kernel
    (out, in, k, k) is the matrix (out, in · k · k). The first and the last matrix are left to Adam too. torch's own Muon takes
    nothing but matrices.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float] = (0.0, 0.99), momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, lr=rate, betas=betas, fused=True)
        self.momentum = momentum
        (group,) = self.param_groups
        hidden = [p for p in group["params"] if p.ndim >= 2][1:-1]
        self.matrices = [p for p in hidden if min(len(p), p[0].numel()) >= LEAST]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of every parameter that has a gradient."""
        (group,) = self.param_groups
        set_aside = {p: p.grad for p in self.matrices if p.grad is not None}
        for parameter, gradient in set_aside.items():
            slots = self.state[parameter]
            if not slots:
                slots |= {"step": torch.zeros(()), "momentum_buffer": torch.zeros_like(parameter)}  # Adam expects a step
            average = slots["momentum_buffer"].lerp_(gradient, 1 - self.momentum)
            direction = orthogonal(gradient.lerp(average, self.momentum).flatten(1))
            scale = USUAL * max(direction.shape) ** 0.5  # an orthogonal (n, m) has a root mean square of 1 / √max(n, m)
            parameter.sub_(direction.view_as(parameter), alpha=group["lr"] * scale)
            parameter.grad = None
        result = super().step(closure)
        for parameter, gradient in set_aside.items():
            parameter.grad = gradient
        return result


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the orthogonal matrix (n, m) that is nearest to a matrix (n, m): its singular values become 0.7 … 1.2.

    The polynomials are of x · xᵀ alone, which is much smaller than x where a kernel has many columns.
    """
    a, b, c = STEEPNESS
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    x = x.T if len(matrix) > matrix.shape[1] else x
    gram, identity = x @ x.T, torch.eye(min(matrix.shape), dtype=x.dtype, device=x.device)
    product = identity
    for _ in range(ITERATIONS):
        factor = a * identity + b * gram + c * gram @ gram
        product, gram = factor @ product, factor @ gram @ factor
    x = product @ x
    return x.T if len(matrix) > matrix.shape[1] else x
