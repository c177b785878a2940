"""Pictures and their labels in memory, as every loader returns them."""

import hashlib
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """One split of a data set, decoded and whole in RAM (47 MB for Fashion-MNIST: two cores need no loader workers)."""

    images: Tensor  # uint8 (N, C, H, W), C = 1 grey or 3 RGB
    labels: Tensor  # int64 (N,), indices into `label_names`; all zeros for unlabelled data
    label_names: tuple[str, ...]  # () for unlabelled data
    skipped: tuple[str, ...] = ()  # pictures that were left out, each with the reason

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> int:
        """How many labels there are; 0 for unlabelled data."""
        return len(self.label_names)

    def sha256(self) -> str:
        """Of the pixels, then of the labels as little-endian int64: the same on every machine."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images.numpy()).data)
        digest.update(np.ascontiguousarray(self.labels.numpy().astype("<i8")).data)
        return digest.hexdigest()
