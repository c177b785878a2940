"""Which classes an unconditional model draws at all: the plainest test for mode collapse."""

import torch
from torch import Tensor

MIN_SHARE = 0.01  # one lucky picture in a thousand is no mode


def classes_present(judged: Tensor, classes: int, *, min_share: float = MIN_SHARE) -> tuple[int, ...]:
    """The classes that the judge gives to at least `min_share` of the pictures (and to one of them), sorted.

    `judged` are the judge's labels, int64 (N,).
    """
    counts = torch.bincount(judged, minlength=classes)
    return tuple(index for index, n in enumerate(counts.tolist()) if n >= max(1, min_share * len(judged)))
