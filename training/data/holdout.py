"""A test split for data that came without one."""

import torch

from training.data.config import Split
from training.data.errors import DataError
from training.data.labelled import LabelledImages


def hold_out(data: LabelledImages, share: float, split: Split) -> LabelledImages:
    """One side of a split of each class: `share` of its pictures, evenly spread over their order, are the test split.

    Raises DataError for a class too small to be split.
    """
    held = torch.zeros(len(data), dtype=torch.bool)
    for label in torch.bincount(data.labels).nonzero().flatten().tolist():
        own = (data.labels == label).nonzero().flatten()
        count = len(own)
        if count < 2:
            name = f"class '{data.label_names[label]}'" if data.label_names else "data set"
            raise DataError(f"the {name} has 1 picture, too few to hold one out. Add some, or set data.holdout = 0")
        wanted = max(1, round(count * share))
        held[own[(torch.arange(wanted) * count) // wanted]] = True
    chosen = held if split == "test" else ~held
    return LabelledImages(data.images[chosen], data.labels[chosen], data.label_names, data.skipped)
