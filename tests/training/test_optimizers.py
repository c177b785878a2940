"""Optimizers of our own: Muon's step against a singular value decomposition, and what it leaves to Adam."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import Adam

from training.config import OptimizerConfig
from training.optimizers import Muon, make_optimizer, orthogonal


@pytest.mark.parametrize("shape", [(16, 16), (20, 64), (64, 20)])
def test_a_step_has_the_directions_of_the_gradient_and_none_of_its_sizes(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(shape) @ torch.diag(torch.logspace(0, 1, shape[1]))
    u, sizes, v = torch.linalg.svd(gradient, full_matrices=False)
    assert sizes[0] / sizes[-1] > 5
    made = u.T @ orthogonal(gradient) @ v.T
    assert (made.diagonal() > 0.6).all() and (made.diagonal() < 1.3).all()
    assert (made - made.diagonal().diag()).abs().max() < 1e-3


def test_the_first_step_by_hand() -> None:
    """A hidden kernel takes a step of its own kind; the first and the last one and all biases take Adam's."""
    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.Conv2d(a, b, kernel_size=3) for a, b in ((16, 16), (16, 32), (32, 16))))
    before = [p.detach().clone() for p in layers.parameters()]
    optimizer = make_optimizer(layers.parameters(), OptimizerConfig(algorithm="muon", learning_rate=1e-3, momentum=0.95))
    layers(torch.randn(2, 16, 9, 9) * 10).square().mean().backward()
    gradients = [p.grad.clone() for p in layers.parameters() if p.grad is not None]
    optimizer.step()
    moved = [p.detach() - b for p, b in zip(layers.parameters(), before, strict=True)]
    expected = -1e-3 * 0.2 * 12 * orthogonal(gradients[2].flatten(1)).view_as(gradients[2])  # 12² = 16 · 3 · 3
    for i, (step, gradient) in enumerate(zip(moved, gradients, strict=True)):
        if i == 2:
            assert torch.allclose(step, expected, atol=1e-6)
        else:
            assert torch.allclose(step, -1e-3 * gradient.sign(), atol=1e-4)
    assert all(torch.equal(p.grad, g) for p, g in zip(layers.parameters(), gradients, strict=True) if p.grad is not None)


def test_it_goes_on_from_its_state_as_if_nothing_had_been() -> None:
    torch.manual_seed(0)
    target, x = torch.randn(64, 16), torch.randn(64, 24)

    def perceptron() -> nn.Sequential:
        return nn.Sequential(nn.Linear(24, 32), nn.Linear(32, 32), nn.Linear(32, 16))

    def descend(layer: nn.Module, optimizer: Adam, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            (layer(x) - target).square().mean().backward()
            optimizer.step()

    layer = perceptron()
    optimizer = Muon(layer.parameters(), 1e-3)
    begun = (layer(x) - target).square().mean().item()
    descend(layer, optimizer, 5)
    weights, state = {k: v.clone() for k, v in layer.state_dict().items()}, copy.deepcopy(optimizer.state_dict())
    again = perceptron()
    again.load_state_dict(weights)
    other = Muon(again.parameters(), 1e-3)
    other.load_state_dict(state)
    descend(layer, optimizer, 5)
    descend(again, other, 5)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), again.parameters(), strict=True))
    assert (layer(x) - target).square().mean().item() < begun
