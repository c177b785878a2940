"""Historical averaging: a network that is pulled to the mean of what it has been goes round in circles less.

Section 3.3 of Salimans et al. 2016, https://arxiv.org/abs/1606.03498: ‖θ - ¹⁄ₜ Σ θᵢ‖². Departure: the mean over all weights
rather than the sum, so that the same weight of this loss suits networks of any size.
"""

import torch
from torch import Tensor, nn


class History(nn.Module):
    """The mean of a network's parameters over its life, as buffers: it is saved and resumed with the run."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.count: Tensor
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        for i, parameter in enumerate(network.parameters()):
            self.register_buffer(f"mean_{i}", torch.zeros_like(parameter))

    def means(self) -> list[Tensor]:
        """One tensor a parameter."""
        return [buffer for name, buffer in self.named_buffers() if name != "count"]

    @torch.no_grad()
    def take(self, network: nn.Module) -> None:
        """Takes in what the network is now."""
        self.count += 1
        torch._foreach_lerp_(self.means(), list(network.parameters()), 1 / int(self.count))

    def distance(self, network: nn.Module) -> Tensor:
        """Mean squared distance of the network's weights from their past; 0 where it has none."""
        parameters = list(network.parameters())
        if not int(self.count):
            return torch.zeros((), device=parameters[0].device)
        squares = [(p - mean).square().sum() for p, mean in zip(parameters, self.means(), strict=True)]
        return torch.stack(squares).sum() / sum(p.numel() for p in parameters)
