"""Do generated pictures show what was asked for? Read by a judge that had no part in training or choosing the model."""

from dataclasses import dataclass

from torch import Tensor

from models.classifier import recalls


@dataclass(frozen=True)
class LabelMatch:
    """Share of the pictures that the judge gives the label that was asked for; also for each class on its own."""

    share: float
    recall: tuple[float, ...]  # NaN for a class that was never asked for


def label_match(judged: Tensor, asked: Tensor, classes: int) -> LabelMatch:
    """Of the judge's labels (N,) and those asked for (N,), int64. The floor is the judge's accuracy on real test pictures."""
    return LabelMatch((judged == asked).double().mean().item(), recalls(judged, asked, classes))
