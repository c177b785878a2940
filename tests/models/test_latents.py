"""Seeds, truncation and paths between latents."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.latents import MAX_SEED, latents, lerp, one_hot, slerp, truncate
from models.pixels import from_uint8, to_uint8

SEEDS = st.integers(0, MAX_SEED)
GOLDEN = {
    (0, 0): -2.2718842029571533,
    (0, 63): 0.5080987215042114,
    (7, 0): 1.1362472772598267,
    (7, 63): 0.04944666102528572,
    (4294967303, 0): 0.1368883103132248,
    (4294967303, 63): -0.8475860357284546,
    (MAX_SEED, 0): 1.4452539682388306,
    (MAX_SEED, 63): 0.1329060196876526,
}


def test_a_seed_means_the_same_as_on_the_day_this_was_written() -> None:
    for (seed, index), value in GOLDEN.items():
        assert latents([seed], 64)[0, index].item() == value


@given(SEEDS, st.lists(SEEDS, max_size=5), st.integers(1, 40))
def test_a_seed_means_the_same_beside_any_others_and_at_any_size(seed: int, others: list[int], z_dim: int) -> None:
    assert torch.equal(latents([*others, seed], z_dim)[-1], latents([seed], 64)[0, :z_dim])


def test_a_seed_means_the_same_in_another_process() -> None:
    code = "import sys, models.latents as l; sys.stdout.buffer.write(l.latents([3, l.MAX_SEED], 100).numpy().tobytes())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert there == latents([3, MAX_SEED], 100).numpy().tobytes()


@given(SEEDS)
def test_all_63_bits_of_a_seed_count(seed: int) -> None:
    for bit in (0, 31, 32, 48, 62):
        assert not torch.equal(latents([seed], 8), latents([seed ^ (1 << bit)], 8))


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="outside 0"):
        latents([seed], 8)


def test_latents_are_standard_normal_and_uncorrelated() -> None:
    z = latents(range(4000), 16).double().numpy()
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    correlations = np.corrcoef(np.vstack([z.T, np.roll(z, 1, axis=0).T]))  # between dimensions, and with the next seed
    assert np.abs(correlations - np.eye(32)).max() < 0.08


def test_truncation_scales_towards_the_mean() -> None:
    z = latents([1, 2], 8)
    assert torch.equal(truncate(z, 1), z)
    assert torch.equal(truncate(z, 0), torch.zeros_like(z))
    assert torch.equal(truncate(z, 0.5), z / 2)
    assert torch.equal(truncate(z, 0.5, codes=2)[:, :-2], z[:, :-2] / 2)
    assert torch.equal(truncate(z, 0.5, codes=2)[:, -2:], z[:, -2:])  # what means something goes on meaning it


@given(SEEDS, SEEDS)
def test_slerp_begins_and_ends_at_its_keyframes_and_keeps_the_length_between(a: int, b: int) -> None:
    za, zb = latents([a, b], 64)
    path = slerp(za, zb, torch.linspace(0, 1, 9))
    assert torch.isfinite(path).all()
    torch.testing.assert_close(path[0], za, atol=1e-5, rtol=0)
    torch.testing.assert_close(path[-1], zb, atol=1e-5, rtol=0)
    lengths = path.norm(dim=1)
    low, high = sorted([za.norm().item(), zb.norm().item()])
    assert (lengths >= low - 1e-4).all() and (lengths <= high + 1e-4).all()


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.0], [1.0, 2.0]), ([1.0, 0.0], [-1.0, 0.0]), ([0.0, 0.0], [1.0, 1.0])])
def test_slerp_falls_back_to_a_straight_line(a: list[float], b: list[float]) -> None:
    t = torch.linspace(0, 1, 5)
    za, zb = torch.tensor(a), torch.tensor(b)
    torch.testing.assert_close(slerp(za, zb, t), lerp(za, zb, t))


def test_one_hot_rows() -> None:
    assert one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_pixels_survive_the_round_trip_and_grey_stays_grey() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    assert torch.equal(to_uint8(from_uint8(every).permute(0, 3, 1, 2)), every)
    assert to_uint8(torch.tensor([[[[-1.0, 0.0, 1.0, -7.0, 7.0]]]])).flatten().tolist() == [0, 128, 255, 0, 255]
