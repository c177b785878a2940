"""What is imitated, and how well: against numbers worked by hand and against the distributions' own samples."""

import math

import numpy as np
import pytest
import torch

from training.config import ConfigError
from training.lab.config import parse
from training.lab.distributions import TargetConfig, make_target
from training.lab.metrics import energy, kl, measure, modes, quality, spread, wasserstein

KINDS = {
    "normal": TargetConfig(kind="mixture"),
    "two": TargetConfig(kind="mixture", means=(-2, 2), sigmas=(0.5, 0.7)),
    "ring": TargetConfig(kind="ring"),
    "grid": TargetConfig(kind="grid"),
    "spiral": TargetConfig(kind="spiral"),
}
MODES = {"normal": 1, "two": 2, "ring": 8, "grid": 25, "spiral": 20}
NORMAL = make_target(KINDS["normal"])
GRID = make_target(KINDS["grid"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", KINDS)
def test_a_distributions_own_points_are_perfect(name: str) -> None:
    target = make_target(KINDS[name])
    found = measure(target.sample(20_000, generator()).numpy(), target)
    assert found["modes"] == MODES[name]
    within = math.erf(3 / math.sqrt(2)) if target.dimensions == 1 else 1 - math.exp(-4.5)
    # points beside a curve are nearer to it than to the place they came from
    assert found["quality"] == pytest.approx(within, abs=0.003) or (name == "spiral" and found["quality"] > within)
    assert found["spread"] == pytest.approx(1, abs=0.03)
    assert found["kl"] < 0.002 and abs(found["energy"]) < 0.01
    if target.dimensions == 1:
        assert found["w1"] < 0.05


def test_shapes_are_where_papers_have_them() -> None:
    ring, grid = (make_target(KINDS[name]).sample(50_000, generator()).numpy() for name in ("ring", "grid"))
    assert np.abs(np.linalg.norm(ring, axis=1) - 1).max() < 0.06
    corner = grid[(np.abs(grid - 4) < 1).all(axis=1)]
    assert corner.mean() == pytest.approx(4, abs=0.01) and corner.std() == pytest.approx(0.05, abs=0.005)


def test_a_mixture_has_its_means_and_deviations() -> None:
    x = make_target(KINDS["two"]).sample(100_000, generator()).numpy()
    upper = x[x > 0]
    assert len(upper) / len(x) == pytest.approx(0.5, abs=0.01)
    assert upper.mean() == pytest.approx(2, abs=0.02) and upper.std() == pytest.approx(0.7, abs=0.02)


def test_density_and_quantiles_belong_to_each_other() -> None:
    target = make_target(KINDS["two"])
    x = np.linspace(-8, 8, 16_001)
    below = np.cumsum(target.density(x)) * (x[1] - x[0])
    assert below[-1] == pytest.approx(1, abs=1e-3)
    for share in (0.1, 0.5, 0.9):
        assert np.interp(share, below, x) == pytest.approx(target.quantiles(np.array([share]))[0], abs=0.01)


def test_wasserstein_of_a_shifted_distribution_is_the_shift() -> None:
    x = NORMAL.quantiles((np.arange(1000) + 0.5) / 1000)[:, None]
    assert wasserstein(x, NORMAL) == pytest.approx(0, abs=1e-6)
    assert wasserstein(x + 0.3, NORMAL) == pytest.approx(0.3)
    point = np.full((1000, 1), 4.0)  # E|X - μ| = σ·√(2/π)
    assert wasserstein(point, NORMAL) == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=1e-2)


def test_modes_need_good_points_and_a_thousandth_of_all() -> None:
    points = np.zeros((1000, 2))  # the middle mode
    points[0] = (4, 4)  # one of a thousand
    points[1] = (2, 2.2)  # four deviations away: a mode that is nearly met
    assert modes(points, GRID) == 2
    assert modes(np.concatenate([points, np.zeros((1500, 2))]), GRID) == 1
    assert quality(points, GRID) == pytest.approx(0.999)


def test_kl_is_that_worked_by_hand() -> None:
    half = np.array([[0.0, 0.0], [2.0, 0.0]])
    assert kl(half, GRID) == pytest.approx(math.log(25 / 2))
    every = GRID.anchors.numpy()
    assert kl(every, GRID) == pytest.approx(0)


def test_spread_is_measured_in_that_of_real_points() -> None:
    middles = GRID.anchors.numpy()
    assert spread(middles, GRID) == 0 and quality(middles, GRID) == 1
    own = GRID.sample(20_000, generator(1))
    nearer = GRID.anchors[torch.from_numpy(GRID.nearest(own.numpy())[0])].lerp(own, 0.5)
    inside = own[torch.from_numpy(GRID.nearest(own.numpy())[1] <= 3)]
    assert spread(inside.numpy(), GRID) == pytest.approx(1, abs=0.02)
    assert spread(nearer.numpy(), GRID) == pytest.approx(0.52, abs=0.02)  # those beyond three deviations come back in
    assert math.isnan(spread(np.full((10, 2), 9.0), GRID))
    assert math.isnan(spread(np.full((10, 1), 4.0), make_target(TargetConfig(kind="mixture", sigmas=(1e-9,)))))


def test_energy_of_two_far_points_is_twice_their_distance() -> None:
    far = np.full((500, 2), 1e4, dtype=np.float32)
    assert energy(far, make_target(KINDS["ring"])) == pytest.approx(2 * math.sqrt(2) * 1e4, rel=1e-2)


def test_what_is_no_number_is_measured_as_none() -> None:
    assert all(math.isnan(value) for value in measure(np.full((10, 1), np.nan), NORMAL).values())


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("target.means=[1, 2]", "2 means need as many sigmas"),
        ("target.sigmas=[0]", "above 0"),
        ("target.kind=circle", "ring"),
        ("stabilisers.pack=3", "packs of 3"),
        ("los.r1=1", "did you mean 'loss'"),
        ("loss.clip=1", "wasserstein"),
    ],
)
def test_mistakes_are_named(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse([override])
