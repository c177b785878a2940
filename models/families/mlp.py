"""The first GAN: two multilayer perceptrons. Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661.

Sizes are those of the introductory text that this project grew from: 100-d noise → 256 → 512 → 784 pixels, and
784 → 256 → 128 → 1. Departures: the discriminator ends in a logit and not in a sigmoid, whose logarithm is NaN where it
saturates; real pictures arrive in [-1, 1] like the generator's tanh (that text fed them in [0, 1], so the sign of a pixel
alone told real from fake); noise is Gaussian like that of every other family, so that seeds, truncation and slerp mean the
same everywhere.
"""

import itertools
import math

from pydantic import Field
from torch import Tensor, nn

from models.family import Family, LatentHParams
from models.tasks import Task


class MlpHParams(LatentHParams):
    """Hyper-parameters of the MLP family. `hidden` is read forwards by the generator."""

    z_dim: int = Field(100, ge=1, le=4096)
    resolution: int = Field(28, ge=2, le=128)  # height and width, px
    channels: int = Field(1, ge=1, le=4)
    hidden: tuple[int, ...] = Field((256, 512), min_length=1, max_length=8)
    d_hidden: tuple[int, ...] = Field((256, 128), min_length=1, max_length=8)

    @property
    def pixels(self) -> int:
        """How many numbers a picture has."""
        return self.channels * self.resolution**2


def perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these sizes with a ReLU between each two."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        linear = nn.Linear(a, b)
        # He et al. 2015: PyTorch's default for linear layers shrinks the signal by a factor of √6 a layer
        nn.init.normal_(linear.weight, std=math.sqrt(2 / a))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Generator(nn.Module):
    """Latents z (B, z_dim) → images (B, channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, hp: MlpHParams) -> None:
        super().__init__()
        self.shape = (hp.channels, hp.resolution, hp.resolution)
        self.layers = perceptron((hp.z_dim, *hp.hidden, hp.pixels))

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.layers(z).tanh()
        return images.reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Images x (B, channels, resolution, resolution) in [-1, 1] → logits (B,)."""

    def __init__(self, hp: MlpHParams) -> None:
        super().__init__()
        self.layers = perceptron((hp.pixels, *hp.d_hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x.flatten(1))
        return logits.squeeze(1)


FAMILY = Family(
    name="mlp",
    task=Task.UNCONDITIONAL,
    hparams=MlpHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1406.2661",
    extras={"discriminator": Discriminator},
)
