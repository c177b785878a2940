"""Classification Accuracy Score: train on generated pictures only, test on real ones. Ravuri & Vinyals 2019.

https://arxiv.org/abs/1905.10887. It asks whether a generated data set can stand in for the real one, and (unlike Fréchet
distance) fails where classes lack variety. Departures from the paper: a small classifier of the data's own size instead of
a ResNet-50, trained equally long on both sides, with several seeds.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.classifier import FEATURES, Recipe
from models.progress import Progress, silent
from training.data import LabelledImages
from training.metrics.cache import DEFAULT_CACHE, trained_classifier

SEEDS = (100, 101, 102)  # none of the features' or the judge's


@dataclass(frozen=True)
class Score:
    """Accuracy on the real test split over seeds."""

    mean: float
    std: float
    accuracies: tuple[float, ...]
    recall: tuple[float, ...]  # of each class, mean over seeds: shows which class the generated pictures fail


def accuracy_score(
    train: LabelledImages,
    test: LabelledImages,
    *,
    mirror: bool,
    recipe: Recipe = FEATURES,
    seeds: Sequence[int] = SEEDS,
    cache: Path = DEFAULT_CACHE,
    progress: Progress = silent,
    stage: str = "classification accuracy score",
) -> Score:
    """Trains one classifier a seed on `train`, real or generated, and measures each, once and at its end, on `test`.

    Each goes into the cache: an evaluation that was interrupted goes on, and the real side is trained once a data set.
    """
    trained = [
        trained_classifier(
            train, test, recipe=recipe, seed=seed, mirror=mirror, cache=cache,
            progress=lambda _, done, i=i: progress(stage, (i + done) / len(seeds)),
        )
        for i, seed in enumerate(seeds)
    ]  # fmt: skip
    progress(stage, 1.0)
    accuracies = tuple(t.test_accuracy for t in trained)
    recall = tuple(statistics.fmean(column) for column in zip(*(t.test_recall for t in trained), strict=True))
    return Score(statistics.fmean(accuracies), _std(accuracies), accuracies, recall)


def _std(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
