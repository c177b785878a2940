"""Pictures and their labels in memory, as every loader returns them."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from models.pixels import from_uint8
from training.data.contract import mirrored
from training.data.errors import DataError

UNKNOWN = -1  # the label of a picture that has none


@dataclass(frozen=True)
class LabelledImages:
    """One split of a data set, decoded and whole in RAM (47 MB for Fashion-MNIST: two cores need no loader workers)."""

    images: Tensor  # uint8 (N, C, H, W), C = 1 grey or 3 RGB
    labels: Tensor  # int64 (N,), indices into `label_names`, or UNKNOWN; all zeros for unlabelled data
    label_names: tuple[str, ...]  # () for unlabelled data
    skipped: tuple[str, ...] = ()  # pictures that were left out, each with the reason

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pictures(self) -> int:
        """An item each."""
        return len(self)

    @property
    def classes(self) -> int:
        """How many labels there are; 0 for unlabelled data."""
        return len(self.label_names)

    def decides(self) -> dict[str, Any]:
        """Resolution, channels, and the number and names of the classes if there are any."""
        _, channels, height, width = self.images.shape
        if height != width:
            raise DataError(f"the pictures are {width}x{height} px; set data.resolution to have them cropped to a square")
        size = {"resolution": height, "channels": channels}
        return size | ({"classes": self.classes, "label_names": self.label_names} if self.classes else {})

    def relabelled(self, path: Path) -> Self:
        """With the labels of an .npy file (N,) in the place of its own; pictures labelled -1 are left out. Raises DataError."""
        try:
            labels = torch.from_numpy(np.load(path, allow_pickle=False)).to(torch.int64)
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"the labels in {path} can't be read ({error}). Write them with numpy.save") from error
        if labels.shape != (len(self),):
            raise DataError(f"{path} has labels of shape {tuple(labels.shape)}, and there are {len(self)} training pictures")
        if labels.min() < -1 or labels.max() >= self.classes:
            raise DataError(f"{path} has labels from {labels.min()} to {labels.max()}; there are {self.classes} classes")
        kept = labels >= 0
        return replace(self, images=self.images[kept], labels=labels[kept])

    def knowing(self, known: Tensor) -> Self:
        """With the labels of those that are `known`, bool (N,), and no others."""
        return replace(self, labels=torch.where(known, self.labels, UNKNOWN))

    def on(self, device: torch.device) -> Self:
        """The same, on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def batch(self, rows: Tensor, *, mirror: bool) -> tuple[Tensor, Tensor]:
        """Pictures (B, C, H, W) in [-1, 1] and their labels (B,)."""
        real = from_uint8(self.images[rows]).contiguous(memory_format=torch.channels_last)
        if mirror:
            (real,) = mirrored(real)
        return real, self.labels[rows]

    def sha256(self) -> str:
        """Of the pixels, then of the labels as little-endian int64: the same on every machine."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images.numpy()).data)
        digest.update(np.ascontiguousarray(self.labels.numpy().astype("<i8")).data)
        return digest.hexdigest()


def draw_labels(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """Which of N pictures keep their label, bool (N,): so many of each class, at random. Raises DataError."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    known = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        own = order[labels[order] == label]
        if len(own) < per_class:
            raise DataError(f"class {label} has {len(own)} pictures, and {per_class} of each are to keep their labels")
        known[own[:per_class]] = True
    return known
