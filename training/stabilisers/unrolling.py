"""Unrolled GAN: the generator answers the discriminator that this one will be in a few steps. Metz et al. 2017.

https://arxiv.org/abs/1611.02163, equations 5 to 9: the inner steps are differentiable, so the generator also learns how its
pictures move the discriminator. The inner descent is plain, as in those equations, whatever the discriminator's optimizer.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call


def unrolled(
    discriminator: nn.Module,
    real: Callable[[], tuple[Tensor, ...]],
    fake: Callable[[], tuple[Tensor, ...]],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    rate: float,
) -> tuple[Tensor, Tensor]:
    """Logits (B,) of real and generated pictures by the discriminator that `steps` of descent on `loss` would make of it.

    `real` and `fake` give the discriminator's inputs for one pass. It stays as it is; gradients of the logits reach the
    generated pictures directly and through every step.
    """
    parameters = {name: p.detach().requires_grad_() for name, p in discriminator.named_parameters()}

    def judge(inputs: tuple[Tensor, ...]) -> Tensor:
        logits: Tensor = functional_call(discriminator, parameters, inputs)
        return logits.float()

    for _ in range(steps):
        gradients = torch.autograd.grad(
            loss(judge(real()), judge(fake())), list(parameters.values()), create_graph=True, allow_unused=True
        )
        parameters = {
            name: p if gradient is None else p - rate * gradient
            for (name, p), gradient in zip(parameters.items(), gradients, strict=True)
        }
    return judge(real()), judge(fake())
