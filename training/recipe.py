"""What the loop asks of a recipe: the only things it knows about a family."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from models.progress import Progress
from training.config import SnapshotConfig


class Recipe(Protocol):
    """The networks of a run and how one batch changes them."""

    publishes: ClassVar[Mapping[str, str]]  # part of a zoo entry → the network that becomes it; "generator" is always one
    networks: dict[str, nn.Module]  # saved and resumed, averaged generator included
    optimizers: dict[str, Optimizer]  # saved and resumed; their rates are set by the loop

    def begin(self, data: Any, progress: Progress) -> None:
        """Called once in the life of a run, before its first step, with the data. What it makes belongs into `networks`.

        `progress` is to be told of what takes long.
        """

    def step(self, batch: tuple[Tensor, ...], step: int, images_seen: int) -> dict[str, Tensor]:
        """Updates every network once on what the data's `batch` gave.

        Draws its random numbers from PyTorch's global generators, which the loop seeds for each step. `images_seen` is
        counted after this step. Returns scalars to log.
        """

    def preview(self, data: Any, every: SnapshotConfig) -> bytes:
        """A PNG of what the published generator makes of the same things at every snapshot."""
