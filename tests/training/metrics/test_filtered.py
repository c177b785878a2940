"""A filter's pictures: as many as were asked for, none that it doubts, and those that it never doubted as they were."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bar_pictures import NAMES
from torch import Tensor
from zoo_factory import make_entry

from models.checkpoint import Checkpoint, load_checkpoint
from models.classifier import Classifier, Recipe, train_classifier
from models.progress import silent
from training.data import LabelledImages
from training.metrics.draw import draw
from training.metrics.filtered import MOST_DRAWN, filtered, refused


class Careless(torch.nn.Module):
    """Draws a training picture of the class asked for, or with some latents of the next class."""

    def __init__(self, train: LabelledImages, wrong: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.firsts = (
            torch.stack([train.images[train.labels == label][0] for label in range(train.classes)]).float() / 127.5 - 1
        )
        self.wrong = wrong

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        slips = torch.special.ndtr(z[:, 0]) < self.wrong
        return self.firsts[(y.argmax(dim=1) + slips) % len(self.firsts)]


@pytest.fixture(scope="module")
def reader(train: LabelledImages, tiny: Recipe) -> Classifier:
    return train_classifier(train.images, train.labels, train.classes, recipe=tiny, seed=0, mirror=False)


def model(folder: Path, train: LabelledImages, wrong: float) -> Checkpoint:
    entry = make_entry(folder, "tiny", "conditional", resolution=16, classes=4, labels=NAMES)
    return replace(load_checkpoint(entry), generator=Careless(train, wrong))


def test_refused_pictures_are_drawn_again_and_no_others(tmp_path: Path, train: LabelledImages, reader: Classifier) -> None:
    checkpoint, asked = model(tmp_path, train, 0.4), torch.arange(200) % 4
    first = torch.cat(list(draw(checkpoint, range(200), asked.tolist())))
    doubted = refused(reader, first, asked)
    assert 40 < len(doubted) < 120
    kept = filtered(checkpoint, reader, asked, silent)
    assert kept is not None and kept.drawn >= 200 + len(doubted)
    assert len(refused(reader, kept.images, asked)) == 0
    changed = (kept.images != first).flatten(1).any(dim=1).nonzero()[:, 0]
    assert torch.equal(changed, doubted)


def test_a_model_that_is_always_wrong_is_given_up(tmp_path: Path, train: LabelledImages, reader: Classifier) -> None:
    told: list[float] = []
    asked = torch.arange(40) % 4
    assert filtered(model(tmp_path, train, 1.0), reader, asked, lambda _, done: told.append(done)) is None
    assert len(told) == MOST_DRAWN and all(0 <= done <= 1 for done in told)
