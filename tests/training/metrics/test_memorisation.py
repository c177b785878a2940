from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifier import FEATURES, Classifier, Design, predict, train_classifier
from training.data import DataConfig, load
from training.metrics.memorisation import Memorisation, View, memorisation, threshold


@pytest.fixture(scope="module")
def world(data_path: Callable[..., Path]) -> tuple[Classifier, Tensor, Tensor]:
    """A quickly trained encoder, 2,000 training and 1,500 held-out pictures of Fashion-MNIST."""
    config = DataConfig(name="f", format="idx", path=data_path("fashion-mnist"), source="s", licence="l")
    train, test = load(config, "train"), load(config, "test")
    recipe = replace(FEATURES, design=Design("pooled", (8, 16, 32, 32), features=32), images=4_800, batch=32)
    network = train_classifier(train.images, train.labels, 10, recipe=recipe, seed=0, mirror=True)
    return network, train.images[:2000], test.images[:1500]


def check(world: tuple[Classifier, Tensor, Tensor], pictures: Tensor) -> Memorisation:
    network, train, held_out = world

    def view(images: Tensor) -> View:
        return View(images, predict(network, images).features)

    return memorisation(view(pictures), view(held_out[:1000]), view(train), mirror=True)


def shift_right(images: Tensor) -> Tensor:
    return F.pad(images, (1, 0))[..., :-1]


def slightly_noisy(images: Tensor) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * 8
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


COPIES = {
    "exact": (lambda x: x, 1.0),
    "shifted by a pixel": (shift_right, 0.7),
    "slightly noisy": (slightly_noisy, 0.95),
    "mirrored": (lambda x: x.flip(3), 0.8),
}


@pytest.mark.parametrize(("change", "least"), COPIES.values(), ids=COPIES)
def test_planted_copies_are_caught(
    world: tuple[Classifier, Tensor, Tensor], change: Callable[[Tensor], Tensor], least: float
) -> None:
    found = check(world, change(world[1][500:650]))
    assert found.share >= least
    right = found.nearest == torch.arange(500, 650)
    assert right[found.flagged].double().mean() > 0.95  # and the picture it names is the one that was copied


def test_held_out_pictures_are_not_flagged(world: tuple[Classifier, Tensor, Tensor]) -> None:
    found = check(world, world[2][1000:])
    assert found.share <= 0.01
    assert found.floor <= 0.01


def test_a_few_copies_among_many_come_first(world: tuple[Classifier, Tensor, Tensor]) -> None:
    pictures = world[2][1000:1400].clone()
    pictures[[7, 70, 300]] = world[1][[1, 2, 3]]
    found = check(world, pictures)
    assert sorted(found.closest(3)) == [(7, 1), (70, 2), (300, 3)]
    assert 3 / 400 <= found.share <= 8 / 400
    assert found.flagged[[7, 70, 300]].all()


def test_threshold_is_a_quantile() -> None:
    values = torch.arange(1.0, 2001.0)[torch.randperm(2000)]
    assert threshold(values) == 2
    assert threshold(values[:100]) == values[:100].min()
    assert 0 < threshold(torch.zeros(50)) < 1e-3  # a test split that repeats training pictures: exact copies still count


def test_too_few_pictures_are_refused() -> None:
    view = View(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="too few"):
        memorisation(view, view, view, mirror=False)
