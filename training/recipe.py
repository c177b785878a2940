"""What the loop asks of a recipe: the only things it knows about a family."""

from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from training.data import LabelledImages


class Recipe(Protocol):
    """The networks of a run and how one batch changes them."""

    networks: dict[str, nn.Module]  # saved and resumed, averaged generator included
    optimizers: dict[str, Optimizer]  # saved and resumed; their rates are set by the loop

    def begin(self, data: LabelledImages) -> None:
        """Called once in the life of a run, before its first step. What it makes belongs into `networks`."""

    def step(self, real: Tensor, labels: Tensor, step: int, images_seen: int) -> dict[str, Tensor]:
        """Updates every network once on real (B, C, H, W) in [-1, 1] with labels (B,), which are 0 where there are none.

        Draws its random numbers from PyTorch's global generators, which the loop seeds for each step. `images_seen` is
        counted after this step. Returns scalars to log.
        """

    def published(self) -> nn.Module:
        """The generator to sample, measure and publish."""
