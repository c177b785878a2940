"""Pictures and their labels in memory, as every loader returns them."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from models.pixels import from_uint8
from training.data.contract import mirrored
from training.data.errors import DataError


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

    def decides(self) -> dict[str, int]:
        """Resolution, channels, and the number of classes if there are any."""
        _, channels, height, width = self.images.shape
        if height != width:
            raise DataError(f"the pictures are {width}x{height} px; set data.resolution to have them cropped to a square")
        return {"resolution": height, "channels": channels} | ({"classes": self.classes} if self.classes else {})

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
