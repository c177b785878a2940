"""What measurements of answers share: the data, classifiers of real pictures, and distances in their features."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.classifier import Recipe, predict
from models.manifest import Metric
from models.pixels import from_uint8, to_uint8
from models.progress import Progress
from training.data import DataConfig, LabelledImages, TrainingData
from training.metrics.cache import Trained, trained_classifier
from training.metrics.distances import frechet_distance, kernel_distance
from training.metrics.rotations import rotated

MICRO_BATCH = 16


@dataclass(frozen=True)
class Scale:
    """How thorough: the classifiers' recipes, and a remark for the protocol."""

    features: Recipe
    judge: Recipe
    note: str


@dataclass(frozen=True)
class Bench:
    """What all measurements of one evaluation share."""

    train: TrainingData
    test: TrainingData
    data: DataConfig
    scale: Scale
    cache: Path
    progress: Progress

    def metric(self, values: Sequence[float], n: int, protocol: str, floor: float | None = None) -> Metric:
        """The mean of `values`, and their standard deviation if there are several."""
        spread = statistics.stdev(values) if len(values) > 1 else None
        return Metric(value=statistics.fmean(values), spread=spread, floor=floor, n=n, protocol=protocol + self.scale.note)

    def classifier(self, train: LabelledImages, test: LabelledImages, recipe: Recipe, seed: int, *, mirror: bool) -> Trained:
        """From the cache, if it is there."""
        return trained_classifier(
            train, test, recipe=recipe, seed=seed, mirror=mirror, cache=self.cache,
            progress=lambda _, done: self.progress("training a classifier of real pictures", done),
        )  # fmt: skip


@torch.inference_mode()
def answers(network: nn.Module, given: Tensor) -> Iterator[Tensor]:
    """Pictures uint8 (N, C, H, W) → answers uint8 (B, C', H', W'), batch by batch."""
    for part in torch.split(given, MICRO_BATCH):
        yield to_uint8(network(from_uint8(part).contiguous(memory_format=torch.channels_last))).permute(0, 3, 1, 2)


def answered(network: nn.Module, given: Tensor, progress: Progress) -> Tensor:
    """As `answers`, all of them."""
    parts = []
    for i, part in enumerate(answers(network, given)):
        progress("answering pictures", min(1.0, (i + 1) * MICRO_BATCH / len(given)))
        parts.append(part)
    return torch.cat(parts)


def centred(pictures: Tensor, side: int) -> Tensor:
    """The middle of each picture (N, C, S, S): training pictures are kept larger, to be cut at random."""
    off = (pictures.shape[2] - side) // 2
    return pictures[:, :, off : off + side, off : off + side]


def distances_to_real(bench: Bench, train: Tensor, test: Tensor, made: Tensor, what: str = "answers") -> dict[str, Metric]:
    """Fréchet and kernel distance of answers to real training pictures, beside those of real test pictures.

    All uint8 (N, C, S, S).
    """
    unlabelled = torch.zeros(len(train), dtype=torch.int64), torch.zeros(len(test), dtype=torch.int64)
    real, held = LabelledImages(train, unlabelled[0], ()), LabelledImages(test, unlabelled[1], ())
    encoder = bench.classifier(rotated(real), rotated(held), bench.scale.features, 0, mirror=False)
    of_real, of_held, of_made = (predict(encoder.network, x).features for x in (train, test, made))
    size = min(len(test), len(made))
    mean, std = kernel_distance(of_real, of_made, size=size)
    space = (
        f"{len(made):,} {what} against {len(train):,} of real training pictures, floor: {len(test):,} of test pictures; "
        f"features of a CNN trained here to tell which way up they are ({encoder.test_accuracy:.1%} on the test split)."
    )
    kd = Metric(
        value=mean, spread=std, floor=kernel_distance(of_real, of_held, size=size)[0], n=len(made),
        protocol=f"Unbiased squared MMD, cubic kernel, 100 subsets of {size}: {space}{bench.scale.note}",
    )  # fmt: skip
    floor = frechet_distance(of_real, of_held)
    fd = bench.metric([frechet_distance(of_real, of_made)], len(made), f"Fréchet distance: {space}", floor)
    return {"kd": kd, "fd": fd}
