"""A discriminator that sees how alike the pictures of a batch are: one that collapsed gives itself away.

Both techniques append numbers to the features which the last layer reads. Appending before a linear layer is the same as adding
what a second linear layer makes of them, so the layers of a family stay as they are. Real and generated pictures come in
batches of their own, as everywhere here.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.config import StabiliserConfig
from training.stabilisers.layers import LinearMaker, as_rows, find_head


def closeness(projected: Tensor) -> Tensor:
    """Minibatch discrimination: rows M (…, B, kernels, size) → o (…, B, kernels), how near each row has the others.

    o(xᵢ)ₖ = Σⱼ exp(-‖Mᵢₖ - Mⱼₖ‖₁), j ≠ i: section 3.2 of Salimans et al. 2016, https://arxiv.org/abs/1606.03498. (The paper's
    sum has j = i too, which only adds 1.) Divided by B - 1, so that it means the same at any batch size.
    """
    apart = (projected.unsqueeze(-4) - projected.unsqueeze(-3)).abs().sum(dim=-1)  # (…, B, B, kernels)
    near: Tensor = (torch.exp(-apart).sum(dim=-2) - 1) / max(projected.shape[-3] - 1, 1)
    return near


def deviation(features: Tensor) -> Tensor:
    """Minibatch standard deviation: features (…, B, F) → (…, B, 1), one number for all: how far features spread.

    Section 3 of Karras et al. 2018, https://arxiv.org/abs/1710.10196. Departure: over a whole batch; the paper has groups of 4.
    """
    spread = (features.var(dim=-2, correction=0) + 1e-8).sqrt().mean(dim=-1)
    return spread[..., None, None].expand(*features.shape[:-1], 1)


class BatchAwareHead(nn.Module):
    """A discriminator's last layer, which also reads what `statistics`, features (…, B, F) → (…, B, K), says of a batch."""

    def __init__(self, head: nn.Module, statistics: nn.Module, weigh: nn.Module) -> None:
        super().__init__()
        self.statistics, self.weigh = statistics, weigh
        self.head = head  # last, so that it is still what `find_head` finds

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        of_batch: Tensor = self.weigh(self.statistics(as_rows(features)))
        return logits + of_batch.reshape(logits.shape)


class Closeness(nn.Module):
    """Features (…, B, F) → `closeness` (…, B, kernels) of a learned projection of them."""

    def __init__(self, project: nn.Module, kernels: int) -> None:
        super().__init__()
        self.project, self.kernels = project, kernels

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.project(features)
        return closeness(projected.reshape(*projected.shape[:-1], self.kernels, -1))


class Deviation(nn.Module):
    """Features (…, B, F) → `deviation` (…, B, 1)."""

    def forward(self, features: Tensor) -> Tensor:
        return deviation(features)


def tell_of_batch(discriminator: nn.Module, config: StabiliserConfig, linear: LinearMaker, probe: Callable[[], object]) -> None:
    """Puts the technique that `config.minibatch` names before the last layer, in place. `probe` runs the network once."""
    parent, name = find_head(discriminator)
    head = parent.get_submodule(name)
    inputs = []
    handle = head.register_forward_pre_hook(lambda _, given: inputs.append(as_rows(given[0]).shape[-1]))
    with torch.no_grad():
        probe()
    handle.remove()
    if config.minibatch == "discrimination":
        statistics: nn.Module = Closeness(linear(inputs[0], config.kernels * config.kernel_size), config.kernels)
        weigh = linear(config.kernels, 1)
    else:
        statistics, weigh = Deviation(), linear(1, 1)
    setattr(parent, name, BatchAwareHead(head, statistics, weigh))
