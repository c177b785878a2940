"""What a GAN family declares: its typed hyper-parameters and its networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from models.tasks import Task


class HParams(BaseModel):
    """Base of every family's hyper-parameters: frozen, and a misspelt key is an error instead of a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: int  # height and width, px: of every picture, or of those that the networks learned on
    channels: int  # of what the generator makes


class LatentHParams(HParams):
    """What every family that draws square pictures from latents has."""

    z_dim: int
    classes: int = 0  # 0: the family takes no label

    @property
    def codes(self) -> int:
        """How many of the last numbers of `z` mean something: see `models.codes`."""
        return 0

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the pictures that its generator can draw, px, ascending. The last is `resolution`."""
        return (self.resolution,)

    def at(self, resolution: int) -> Self:
        """Of the generator that draws one of `resolutions` and nothing larger: its weights are some of the whole one's.

        Raises ValueError for any other.
        """
        if resolution != self.resolution:
            raise ValueError(f"there are pictures of {self.resolution} px, and none of {resolution}")
        return self


class ClassifyingHParams(LatentHParams):
    """What every family has whose discriminator also tells classes apart. Its generator takes no label.

    An entry that holds the classifier holds it as `classifier`: images → a logit for each class.
    """

    label_names: tuple[str, ...] = Field(min_length=2)  # of the classes, in the order of the logits


class TranslatorHParams(HParams):
    """What every family that answers a picture with a picture has. Its generator takes any height and width."""

    @property
    def given_channels(self) -> int:
        """Of the picture that it is given."""
        return self.channels

    @property
    def noise_dim(self) -> int:
        """Of the noise that its generator takes beside the picture; 0: none, and the answer is the only one."""
        return 0

    @property
    def scale(self) -> int:
        """Side of the answer over that of the picture given."""
        return 1

    @property
    def multiple_of(self) -> int:
        """Both sides of the picture given must be multiples of this, px."""
        return 1

    @property
    def reach(self) -> int | None:
        """How far around itself a pixel of the answer sees, px of the picture given; None: it may see all of it."""
        return None


@dataclass(frozen=True)
class Family:
    """One GAN family. `name` is also the stem of its file here."""

    name: str
    task: Task
    hparams: type[HParams]
    generator: Callable[[Any], nn.Module]
    discriminator: Callable[[Any], nn.Module]
    paper: str
    # what an entry may hold beside the generator
    extras: Mapping[str, Callable[[Any], nn.Module]] = field(default_factory=dict)

    @property
    def conditional(self) -> bool:
        """Whether its generator takes class weights beside the latent."""
        return self.task == Task.CONDITIONAL

    @property
    def from_latents(self) -> bool:
        """Whether its generator draws from latents; else it answers a picture with a picture."""
        return issubclass(self.hparams, LatentHParams)
