"""Pictures as a data set's `filter` with `min_confidence` keeps them: refused ones are drawn again, until none is refused."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.checkpoint import Checkpoint
from models.classifier import Classifier, predict
from models.progress import Progress
from training.metrics.draw import draw

MIN_CONFIDENCE = 0.6  # of the classifier, in the label that was asked for
AT_ONCE = 10_000  # pictures, between two signs of progress
MOST_DRAWN = 10  # times as many as there shall be: a model that needs more is not worth filtering


@dataclass(frozen=True)
class Filtered:
    """Pictures uint8 (N, C, H, W), and how many were drawn to have them."""

    images: Tensor
    drawn: int


def filtered(checkpoint: Checkpoint, reader: Classifier, asked: Tensor, progress: Progress) -> Filtered | None:
    """Pictures of the labels `asked` (N,) from seeds 0 … N - 1, the refused ones drawn anew from the seeds behind.

    None if that takes too many.
    """
    channels, side = checkpoint.latent.channels, checkpoint.latent.resolution
    images = torch.empty(len(asked), channels, side, side, dtype=torch.uint8)
    left, drawn = torch.arange(len(asked)), 0
    while len(left):
        if drawn + len(left) > MOST_DRAWN * len(asked):
            return None
        for start in range(0, len(left), AT_ONCE):
            progress("drawing what a filter lets pass", 1 - (len(left) - start) / len(asked))
            place = left[start : start + AT_ONCE]
            images[place] = torch.cat(list(draw(checkpoint, range(drawn, drawn + len(place)), asked[place].tolist())))
            drawn += len(place)
        left = left[refused(reader, images[left], asked[left])]
    return Filtered(images, drawn)


def refused(reader: Classifier, images: Tensor, asked: Tensor) -> Tensor:
    """The places of those whose label the reader is not sure enough of, int64."""
    sure = F.softmax(predict(reader, images).logits, dim=1).gather(1, asked[:, None])[:, 0]
    return (sure < MIN_CONFIDENCE).nonzero()[:, 0]
