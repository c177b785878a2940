import math

import pytest
import torch
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from training.metrics.distances import frechet_distance, kernel_distance


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(n: int, mean: Tensor, root: Tensor, seed: int = 0) -> Tensor:
    """Rows whose sample mean and covariance are exactly `mean` and root @ root.T."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(dim=0)
    whitened = x @ torch.linalg.inv(torch.linalg.cholesky(torch.atleast_2d(torch.cov(x.T)))).T
    return whitened @ root.T + mean


def test_a_hand_worked_value() -> None:
    # 1-D: (3 − 1)² + (2 − 5)² = 13
    one = with_moments(50, torch.tensor([1.0], dtype=torch.float64), torch.tensor([[2.0]], dtype=torch.float64))
    two = with_moments(80, torch.tensor([3.0], dtype=torch.float64), torch.tensor([[5.0]], dtype=torch.float64), seed=1)
    assert math.isclose(frechet_distance(one, two), 13, rel_tol=1e-9)


def test_commuting_covariances_in_two_dimensions() -> None:
    # same axes, turned by 30°: |Δμ|² + Σ (√a − √b)² = 4 + (1 − 3)² + (2 − 1)² = 9
    turn = torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]], dtype=torch.float64)
    a = with_moments(60, torch.zeros(2, dtype=torch.float64), turn @ torch.diag(torch.tensor([1.0, 2.0]).double()))
    b = with_moments(60, torch.tensor([2.0, 0]).double(), turn @ torch.diag(torch.tensor([3.0, 1.0]).double()), seed=1)
    assert math.isclose(frechet_distance(a, b), 9, rel_tol=1e-9)


def test_agrees_with_torchmetrics_where_axes_differ() -> None:
    x, y = normal(200, 6, 0) @ normal(6, 6, 1), normal(300, 6, 2) @ normal(6, 6, 3) + 1
    theirs = _compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T)).item()
    assert math.isclose(frechet_distance(x, y), theirs, rel_tol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(500, 8), (20, 64)])  # also fewer pictures than features
def test_zero_for_equal_sets_and_symmetric(n: int, d: int) -> None:
    x, y = normal(n, d, 0), normal(n, d, 1) * 2
    assert frechet_distance(x, x) < 1e-6
    assert math.isclose(frechet_distance(x, y), frechet_distance(y, x), rel_tol=1e-6)


def test_grows_with_noise() -> None:
    x, noise = normal(2000, 8, 0), normal(2000, 8, 1)
    values = [frechet_distance(x, x + scale * noise) for scale in (0, 0.1, 0.3, 1, 3)]
    assert values == sorted(values)
    assert values[-1] > 10 * values[2]
    kernel = [kernel_distance(x, x + scale * noise, subsets=5, size=300)[0] for scale in (0.3, 1, 3)]
    assert kernel == sorted(kernel)


def test_kernel_distance_is_unbiased() -> None:
    # the biased estimate of equal distributions is far above 0 at n = 20: its diagonal adds about E k(x, x) · 2/n
    values = torch.tensor([kernel_distance(normal(20, 4, s), normal(20, 4, 1000 + s), subsets=1)[0] for s in range(400)])
    error = values.std() / len(values) ** 0.5
    assert values.mean().abs() < 4 * error
    assert (values < 0).double().mean() > 0.3


def test_kernel_distance_by_hand() -> None:
    # D = 1, k(a, b) = (ab + 1)³; x = {0, 1}, y = {2, 3}: 1 + 343 − (1 + 1 + 27 + 64)/2
    value, std = kernel_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]]), subsets=3)
    assert math.isclose(value, 1 + 343 - 93 / 2)
    assert std == 0


def test_kernel_distance_repeats_itself_and_leaves_the_global_state() -> None:
    x, y = normal(300, 4, 0), normal(300, 4, 1) + 0.3
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first, second = (kernel_distance(x, y, subsets=4, size=100) for _ in range(2))
    assert torch.rand(1) == before
    assert first == second
    assert first[1] > 0
