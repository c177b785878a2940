"""Cutting pictures into tiles, and putting answers together."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.tiles import TilePlan, join, lay, padded
from models.families.pix2pix import Generator as UNet
from models.families.pix2pix import Pix2pixHParams
from models.families.srgan import Generator, SrganHParams
from models.pixels import from_uint8, to_uint8

Sides = st.integers(1, 200)
Reach = st.sampled_from([None, 3, 20])


@settings(deadline=None)
@given(Sides, Sides, st.sampled_from([1, 4, 32]), Reach, st.integers(256, 20_000), st.sampled_from([1, 4]))
def test_answers_that_are_the_tiles_themselves_give_the_picture_back(
    height: int, width: int, multiple_of: int, reach: int | None, most: int, scale: int
) -> None:
    rng = np.random.default_rng(height * 1000 + width)
    picture = padded(rng.integers(0, 256, (height, width, 3), np.uint8), multiple_of)
    assert picture.shape[0] % multiple_of == picture.shape[1] % multiple_of == 0
    tiling = lay(*picture.shape[:2], multiple_of=multiple_of, reach=reach, most_pixels=most)
    plan = TilePlan(picture, tiling)
    answers = to_uint8(*plan.rows(0, len(plan))).numpy().repeat(scale, axis=1).repeat(scale, axis=2)
    joined = join(tiling, list(answers), scale)
    assert np.array_equal(joined, picture.repeat(scale, axis=0).repeat(scale, axis=1))
    least = max(4 * (reach or 0), 2 * multiple_of)
    assert len(tiling) == 1 or tiling.height * tiling.width <= max(most, least**2)
    assert all(start % multiple_of == 0 for start in (*tiling.tops, *tiling.lefts))


@pytest.mark.parametrize("size", [(150, 211), (97, 300), (41, 500)])
def test_a_network_with_a_reach_answers_tiles_as_it_answers_the_whole(size: tuple[int, int]) -> None:
    hp = SrganHParams(width=8, blocks=2)
    torch.manual_seed(0)
    network = Generator(hp).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    whole = network_on(network, picture)
    tiling = lay(*size, multiple_of=1, reach=hp.reach, most_pixels=96 * 96)
    assert len(tiling) > 2
    plan = TilePlan(picture, tiling)
    with torch.inference_mode():
        answers = [to_uint8(network(*plan.rows(i, i + 1)))[0].numpy() for i in range(len(plan))]
    difference = np.abs(plan.joined(answers, 4).astype(int) - whole)
    assert difference.max() <= 1  # of rounding


def test_a_network_that_sees_everything_shows_no_seam() -> None:
    """Its tiles differ from the whole everywhere; at the borders of tiles no more than elsewhere."""
    hp = Pix2pixHParams(resolution=64, width=8, depth=4)
    torch.manual_seed(0)
    network = UNet(hp).eval()
    y, x = np.mgrid[:256, :256]
    picture = np.stack([x, y, (x * y) // 256], axis=2).astype(np.uint8)
    whole = network_on(network, picture)
    tiling = lay(256, 256, multiple_of=hp.multiple_of, reach=hp.reach, most_pixels=96 * 96)
    plan = TilePlan(picture, tiling)
    with torch.inference_mode():
        answers = [to_uint8(network(*plan.rows(i, i + 1)))[0].numpy() for i in range(len(plan))]
    cut = replace(tiling, blend=False)
    blended, hard = plan.joined(answers, 1).astype(int), join(cut, answers, 1).astype(int)
    taken_over = [(a + tiling.width + b) // 2 - 1 for a, b in pairwise(tiling.lefts)]

    def steps(made: np.ndarray) -> float:
        """How much more the error changes where one tile takes over from another than it does elsewhere."""
        change = np.abs(np.diff(made - whole, axis=1)).mean(axis=(0, 2))
        return float(change[taken_over].mean() / np.delete(change, taken_over).mean())

    assert steps(blended) <= 1.05 < steps(hard)


def network_on(network: torch.nn.Module, picture: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return to_uint8(network(from_uint8(torch.from_numpy(picture[None])).permute(0, 3, 1, 2)))[0].numpy().astype(int)
