"""What a GAN family declares: its typed hyper-parameters and its two networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import nn

from models.tasks import Task


class HParams(BaseModel):
    """Base of every family's hyper-parameters: frozen, and a misspelt key is an error instead of a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageHParams(HParams):
    """What every family that draws square pictures from latents has."""

    z_dim: int
    resolution: int
    channels: int
    classes: int = 0  # 0: the family takes no label


@dataclass(frozen=True)
class Family:
    """One GAN family. `name` is also the stem of its files here and in `training/recipes`."""

    name: str
    task: Task
    hparams: type[ImageHParams]
    generator: Callable[[Any], nn.Module]
    discriminator: Callable[[Any], nn.Module]
    paper: str

    @property
    def conditional(self) -> bool:
        """Whether its generator takes class weights beside the latent."""
        return self.task == Task.CONDITIONAL
