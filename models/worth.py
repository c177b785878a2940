"""What pictures are worth to whoever learns from them: small classifiers learn, and are asked about other real pictures.

The classification accuracy score of Ravuri & Vinyals 2019 (https://arxiv.org/abs/1905.10887) of generated pictures, beside
that of real ones and of both together. Every classifier sees equally many pictures, with repetition.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.classifier import Classifier, Design, Recipe, predict, recalls, train_classifier

SEEDS = (300, 301, 302)
# half the size of what measures models, and trained a fifth as long: a report takes fifteen of them
PLAIN = Recipe(Design("pooled", (16, 32, 64, 96), features=96), images=60_000, shift_px=0)
AUGMENTED = replace(PLAIN, shift_px=1)  # and mirrored, where that changes no class
FRACTIONS = (0.25, 0.5)  # of the real pictures, for a curve where the model brings none

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class RealSet:
    """Real pictures uint8 (N, C, H, W) with int64 labels (N,): some to learn from, others to be asked about."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class Point:
    """What so many real pictures teach: mean accuracy."""

    pictures: int
    accuracy: float


def measure(
    made: tuple[Tensor, Tensor],
    real: RealSet,
    classes: int,
    *,
    mirror: bool,
    curve: Sequence[Point],
    tell: Tell,
    seeds: Sequence[int] = SEEDS,
    plain: Recipe = PLAIN,
    augmented: Recipe = AUGMENTED,
) -> dict[str, Any]:
    """Accuracies by way of learning, with their spread over seeds, and what the generated pictures are worth.

    `made`: generated pictures and their labels. `mirror`: whether a mirrored picture is of the same class. `curve`: what
    real pictures in various numbers teach; empty: it is measured here, on parts of the real ones.
    """
    both = together(made, (real.train_images, real.train_labels))
    own = (real.train_images, real.train_labels)
    ways: list[tuple[str, tuple[Tensor, Tensor], bool]] = [
        ("real", own, False),
        ("real_augmented", own, True),
        ("synthetic", made, False),
        ("real_and_synthetic", both, False),
        ("real_and_synthetic_augmented", both, True),
    ]
    if not curve:
        ways += [(f"real_{fraction}", part(own, fraction), False) for fraction in FRACTIONS]
    found: dict[str, dict[str, Any]] = {}
    for i, (name, (images, labels), augment) in enumerate(ways):
        results = []
        for j, seed in enumerate(seeds):
            done = (i * len(seeds) + j) / (len(ways) * len(seeds))
            tell(f"learning from {name.replace('_', ' ')}", done)
            recipe = augmented if augment else plain
            network = train_classifier(images, labels, classes, recipe=recipe, seed=seed, mirror=mirror and augment)
            results.append(examined(network, real, classes))
        found[name] = summed_up(len(labels), results)
    if not curve:
        learned = [found.pop(f"real_{fraction}") for fraction in FRACTIONS] + [found["real"]]
        curve = [Point(way["pictures"], way["accuracy"]) for way in learned]
    return {
        "ways": found,
        "real_curve": [vars(point) for point in curve],
        "worth": worth(found["synthetic"]["accuracy"], curve),
        "protocol": (
            f"accuracy on {len(real.test_labels):,} real pictures that nothing here learned from, mean of {len(seeds)} seeds, "
            f"of a small CNN after {plain.images:,} pictures, with repetition; in mixtures, real ones are repeated until they "
            f"are half; augmentation is shifts of up to {augmented.shift_px} px{' and mirroring' if mirror else ''}"
        ),
    }


def examined(network: Classifier, real: RealSet, classes: int) -> tuple[float, tuple[float, ...]]:
    """Accuracy, and recall of each class."""
    read = predict(network, real.test_images).labels
    return (read == real.test_labels).double().mean().item(), recalls(read, real.test_labels, classes)


def summed_up(pictures: int, results: Sequence[tuple[float, tuple[float, ...]]]) -> dict[str, Any]:
    """Of one way of learning, over seeds."""
    accuracies = [accuracy for accuracy, _ in results]
    means = [statistics.fmean(column) for column in zip(*(recall for _, recall in results), strict=True)]
    return {
        "pictures": pictures,
        "accuracy": statistics.fmean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "accuracies": accuracies,
        "recall": [None if math.isnan(mean) else mean for mean in means],  # of a class that nobody was asked about
    }


def together(made: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Generated and real pictures in one set, the real ones repeated until they are about half of it."""
    times = max(1, round(len(made[1]) / len(real[1])))
    return torch.cat([made[0], *[real[0]] * times]), torch.cat([made[1], *[real[1]] * times])


def part(real: tuple[Tensor, Tensor], fraction: float) -> tuple[Tensor, Tensor]:
    """A fraction of each class, at least one picture."""
    images, labels = real
    kept = []
    for label in sorted(set(labels.tolist())):
        own = (labels == label).nonzero().flatten()
        kept.append(own[: max(1, round(len(own) * fraction))])
    chosen = torch.cat(kept).sort().values
    return images[chosen], labels[chosen]


def worth(accuracy: float, curve: Sequence[Point]) -> dict[str, Any]:
    """How many real pictures teach as much: between two points of the curve by the logarithm of their number.

    `pictures` and `is`: "about", "at least" (beyond the end of the curve) or "less than" (before its beginning).
    """
    points = sorted(curve, key=lambda point: point.pictures)
    best: list[Point] = []
    for point in points:  # noise may make a curve fall here and there; what fewer pictures teach, more do too
        best.append(Point(point.pictures, max([point.accuracy, *(p.accuracy for p in best)])))
    if accuracy < best[0].accuracy:
        return {"is": "less than", "pictures": best[0].pictures}
    if accuracy >= best[-1].accuracy:
        return {"is": "at least", "pictures": best[-1].pictures}
    above = next(i for i, point in enumerate(best) if point.accuracy > accuracy)
    a, b = best[above - 1], best[above]
    share = (accuracy - a.accuracy) / (b.accuracy - a.accuracy)
    return {"is": "about", "pictures": round(a.pictures ** (1 - share) * b.pictures**share)}


def as_tensors(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Pictures (N, H, W, C) and labels (N,) as classifiers take them."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)
