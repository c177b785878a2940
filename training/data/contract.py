"""What the loop asks of a data set, whatever its pictures are for."""

from typing import Any, Protocol, Self

import torch
from torch import Tensor


class TrainingData(Protocol):
    """One split of a data set, decoded and whole in memory: two cores need no loader workers."""

    @property
    def skipped(self) -> tuple[str, ...]:
        """Files that were left out, each with the reason."""

    def __len__(self) -> int:
        """How many items there are: an epoch shows each of them once."""

    @property
    def pictures(self) -> int:
        """How many pictures it was made from, which may be shown in several items."""

    def decides(self) -> dict[str, Any]:
        """The hyper-parameters that follow from the data, such as `channels`. Raises `DataError` where they can't be known."""

    def sha256(self) -> str:
        """Of everything in it: the same on every machine."""

    def on(self, device: torch.device) -> Self:
        """The same, on a device."""

    def batch(self, rows: Tensor, *, mirror: bool) -> tuple[Tensor, ...]:
        """What a recipe's step gets for these items (rows,): pictures float (B, C, H, W) in [-1, 1] first.

        Flips and crops draw from PyTorch's global generators, which the loop seeds for each step.
        """


def mirrored(pictures: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Each picture (B, C, H, W) turned left to right with probability ½, and what belongs to it in the same way."""
    flipped = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < 0.5
    return tuple(torch.where(flipped, x.flip(3), x) for x in (pictures, *others))
