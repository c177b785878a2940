"""Bars to train and to measure on, one cache of classifiers, one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bar_pictures import TINY, bars

from models.classifier import Recipe
from training.data import LabelledImages


@pytest.fixture(scope="session")
def train() -> LabelledImages:
    return bars(800, seed=0)


@pytest.fixture(scope="session")
def test() -> LabelledImages:
    return bars(400, seed=1)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return TINY


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks this small only wait for each other on several threads; beside a training run, for minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
