"""Labels for the pictures of a data set that have none, from a few that have: self-training.

Curriculum labelling (Cascante-Bonilla et al. 2020, https://arxiv.org/abs/2001.06001): classifiers learn from the labelled
pictures, label the rest, and new ones learn from those labels too, at first from the surest of each class and in the end from
all. Each round starts afresh, and several classifiers vote, so that an early mistake is not repeated for ever.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Recipe, predict, train_classifier
from models.progress import Progress
from models.worth import AUGMENTED
from training.data import UNKNOWN, LabelledImages

TRUSTED = (0.0, 0.3, 0.6, 0.9)  # of the pictures that were given each label, the surest: in each round
VOTERS = 2
SEED = 400
TRUE_SHARE = 0.25  # of what a classifier sees has a true label, at least
RECIPE = replace(AUGMENTED, shift_px=2)


@dataclass(frozen=True)
class Labelling:
    """Of N pictures: labels int64 (N,), how sure of them the voters were, 0 … 1 (N,), and which were known, bool (N,)."""

    labels: Tensor
    confidence: Tensor
    known: Tensor


def label_the_rest(
    data: LabelledImages, known: Tensor, *, mirror: bool, progress: Progress, recipe: Recipe = RECIPE, voters: int = VOTERS
) -> Labelling:
    """Labels for every picture, of which only those of `known` (N,) are looked at."""
    labels = torch.where(known, data.labels, UNKNOWN)
    confidence = known.float()
    for turn, trusted in enumerate(TRUSTED):
        chosen = known | surest(labels, confidence, known, trusted)
        images, theirs = repeated(data.images[chosen], labels[chosen], known[chosen])
        votes = torch.zeros(len(data), data.classes)
        for voter in range(voters):
            progress("labelling", (turn * voters + voter) / (len(TRUSTED) * voters))
            seed = SEED + turn * voters + voter
            network = train_classifier(images, theirs, data.classes, recipe=recipe, seed=seed, mirror=mirror)
            votes += F.softmax(predict(network, data.images).logits, dim=1) / voters
        sure, guessed = votes.max(dim=1)
        labels = torch.where(known, data.labels, guessed)
        confidence = torch.where(known, 1.0, sure)
    progress("labelling", 1.0)
    return Labelling(labels, confidence, known)


def surest(labels: Tensor, confidence: Tensor, known: Tensor, share: float) -> Tensor:
    """Of the pictures that were given each label, the share that the voters were surest of: bool (N,)."""
    chosen = torch.zeros_like(known)
    for label in range(int(labels.max()) + 1):
        own = ((labels == label) & ~known).nonzero().flatten()
        best = confidence[own].argsort(descending=True, stable=True)[: int(share * len(own))]
        chosen[own[best]] = True
    return chosen


def repeated(images: Tensor, labels: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and labels with those that are known repeated until they are `TRUE_SHARE` of all."""
    count, true = len(labels), int(known.sum())
    times = max(0, round((TRUE_SHARE * count - true) / ((1 - TRUE_SHARE) * true)))
    more = known.nonzero().flatten().repeat(times)
    index = torch.cat([torch.arange(count), more])
    return images[index], labels[index]
