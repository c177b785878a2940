"""Metrics that read labels: label match, presence of classes, classification accuracy score."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.classifier import Recipe
from training.data import LabelledImages
from training.metrics.cas import accuracy_score
from training.metrics.class_presence import classes_present
from training.metrics.label_match import label_match


def test_label_match_by_hand() -> None:
    found = label_match(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2]), 4)
    assert found.share == 0.75
    assert found.recall[:3] == (1.0, 1.0, 0.5)
    assert math.isnan(found.recall[3])


def test_label_match_of_shuffled_labels_is_chance() -> None:
    asked = torch.arange(5000) % 10
    judged = asked[torch.randperm(5000, generator=torch.Generator().manual_seed(0))]
    assert label_match(judged, asked, 10).share == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("counts", "present"),
    [([500, 500], (0, 1, )), ([999, 1], (0,)), ([990, 10], (0, 1)), ([991, 9], (0,)), ([0, 1000], (1,))],
)  # fmt: skip
def test_a_class_is_present_from_one_percent(counts: list[int], present: tuple[int, ...]) -> None:
    judged = torch.repeat_interleave(torch.arange(2), torch.tensor(counts))
    assert classes_present(judged, 2) == present


def test_a_class_of_few_pictures_is_no_absent_class() -> None:
    assert classes_present(torch.tensor([1, 1]), 3) == (1,)


def test_cas_collapses_on_shuffled_labels(train: LabelledImages, test: LabelledImages, tiny: Recipe, cache: Path) -> None:
    stages: list[float] = []
    real = accuracy_score(
        train, test, mirror=False, recipe=tiny, seeds=(0, 1), cache=cache, progress=lambda _, d: stages.append(d)
    )
    shuffled = replace(train, labels=train.labels[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))])
    chance = accuracy_score(shuffled, test, mirror=False, recipe=tiny, seeds=(0, 1), cache=cache)
    assert real.mean > 0.9
    assert chance.mean < 0.45
    assert len(real.accuracies) == len(real.recall) // 2 == 2
    assert real.mean == pytest.approx(sum(real.accuracies) / 2)
    assert real.std == pytest.approx(abs(real.accuracies[0] - real.accuracies[1]) / math.sqrt(2))
    assert stages == sorted(stages)
    assert stages[-1] == 1


def test_cas_shows_which_class_is_missing(train: LabelledImages, test: LabelledImages, tiny: Recipe, cache: Path) -> None:
    kept = train.labels != 2
    without = LabelledImages(train.images[kept], train.labels[kept], train.label_names)
    found = accuracy_score(without, test, mirror=False, recipe=tiny, seeds=(0,), cache=cache)
    assert found.recall[2] == 0
    assert min(found.recall[i] for i in (0, 1, 3)) > 0.8
    assert found.std == 0
