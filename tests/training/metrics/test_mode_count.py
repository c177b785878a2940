"""Counting modes, against numbers worked out by hand."""

import math

import pytest
import torch

from training.metrics.mode_count import mode_count


def test_all_modes_equally_often() -> None:
    count = mode_count(torch.arange(1000).repeat(26), 1000)
    assert (count.modes, count.fair) == (1000, 1000)
    assert count.kl == pytest.approx(0, abs=1e-9) and count.tv == pytest.approx(0, abs=1e-9)


def test_everything_in_one_mode() -> None:
    count = mode_count(torch.full((26_000,), 7), 1000)
    assert (count.modes, count.fair) == (1, 1)
    assert count.kl == pytest.approx(math.log(1000)) and count.tv == pytest.approx(0.999)


def test_one_lucky_picture_makes_a_mode_but_no_fair_one() -> None:
    count = mode_count(torch.tensor([0] * 50 + [1] * 49 + [2]), 4)
    assert (count.modes, count.fair) == (3, 2)
    assert count.kl == pytest.approx(0.5 * math.log(0.5 * 4) + 0.49 * math.log(0.49 * 4) + 0.01 * math.log(0.01 * 4))
    assert count.tv == pytest.approx(0.5 * (0.25 + 0.24 + 0.24 + 0.25))
