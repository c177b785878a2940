"""What all measurements of one evaluation share: real pictures, classifiers of them, and how thorough to be."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.classifier import FEATURES, JUDGE, Design, Recipe
from models.manifest import Metric
from models.progress import Progress
from training.data import DataConfig, LabelledImages
from training.metrics import cas
from training.metrics.cache import Trained, trained_classifier
from training.metrics.rotations import rotated


@dataclass(frozen=True)
class Scale:
    """How thorough an evaluation is. Numbers of different scales don't compare."""

    features: Recipe = FEATURES
    judge: Recipe = JUDGE
    pictures: int = 10_000  # in one measurement; never more than the test split has, so that value and floor compare
    repeats: int = 5  # disjoint sets of generated pictures, for the spread
    memorised: int = 5_000
    kernel_subsets: int = 100
    cas_seeds: tuple[int, ...] = cas.SEEDS
    real_pictures: int | None = None  # of the training split; None: all
    note: str = ""


FULL = Scale()
QUICK = Scale(
    features=Recipe(Design("pooled", (8, 16, 32, 32), features=32), images=3_200, batch=32),
    judge=Recipe(Design("strided", (8, 16, 24, 32), features=32), images=3_200, batch=32),
    pictures=200,
    repeats=2,
    memorised=200,
    kernel_subsets=10,
    cas_seeds=cas.SEEDS[:1],
    real_pictures=1_000,
    note=" Quick check on few pictures: not comparable with a published number.",
)


@dataclass(frozen=True)
class Bench:
    """What all measurements of one evaluation share. Labels are numbered as the checkpoint numbers them."""

    train: LabelledImages
    test: LabelledImages
    data: DataConfig
    scale: Scale
    cache: Path
    progress: Progress

    def classifier(self, recipe: Recipe, seed: int, stage: str) -> Trained:
        """A classifier of the real training split, from the cache if it is there."""
        labelled = bool(self.train.classes)
        return trained_classifier(
            self.train if labelled else rotated(self.train), self.test if labelled else rotated(self.test),
            # a mirrored picture turned left looks like a picture turned right
            recipe=recipe, seed=seed, mirror=self.data.mirror and labelled, cache=self.cache,
            progress=lambda _, done: self.progress(stage, done),
        )  # fmt: skip

    def metric(
        self, values: Sequence[float], floor: float | None, n: int, protocol: str, spread: float | None = None
    ) -> Metric:
        """The mean of `values`, with their standard deviation as spread if there is no other."""
        if spread is None and len(values) > 1:
            spread = statistics.stdev(values)
        value = statistics.fmean(values)
        return Metric(value=value, spread=spread, floor=floor, n=n, protocol=protocol + self.scale.note)
