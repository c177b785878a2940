"""DCGAN: unconditional pictures of any power-of-two size. Radford et al. 2016, https://arxiv.org/abs/1511.06434.

The paper's shape: a stack of 4x4 stride-2 (transposed) convolutions from 4x4 to the picture and back, feature maps doubling
as the side halves. Departure: GroupNorm in the generator and no norm in the discriminator, where the paper has BatchNorm:
the picture of a seed must not depend on its neighbours in a batch (see `blocks.groups`).
"""

from typing import Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from models.blocks import SLOPE, groups
from models.family import Family, LatentHParams
from models.tasks import Task


class DcganHParams(LatentHParams):
    """Hyper-parameters of the DCGAN family."""

    z_dim: int = Field(64, ge=1, le=1024)
    resolution: int = Field(64, ge=8, le=1024)  # height and width, px
    channels: int = Field(3, ge=1, le=4)
    width: int = Field(32, ge=8, le=512)  # feature maps of the layer next to the picture
    max_width: int = Field(512, ge=8, le=2048)

    @model_validator(mode="after")
    def _is_a_power_of_two(self) -> Self:
        if self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution {self.resolution} is no power of two: take 8, 16, 32, 64, 128, … px")
        return self

    @property
    def widths(self) -> list[int]:
        """Feature maps from the picture's neighbour (resolution / 2) down to 4x4."""
        halvings = self.resolution.bit_length() - 3
        return [min(self.width * 2**i, self.max_width) for i in range(halvings)]


class Generator(nn.Module):
    """Latents z (B, z_dim) → images (B, channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, hp: DcganHParams) -> None:
        super().__init__()
        widths = hp.widths[::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(hp.z_dim, widths[0], kernel_size=4)]  # 1x1 → 4x4
        for a, b in zip(widths, [*widths[1:], hp.channels], strict=True):
            layers += [nn.GroupNorm(groups(a), a), nn.ReLU(), nn.ConvTranspose2d(a, b, kernel_size=4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.layers(z[:, :, None, None])
        return images.tanh()


class Discriminator(nn.Module):
    """Images x (B, channels, resolution, resolution) in [-1, 1] → logits (B,)."""

    def __init__(self, hp: DcganHParams) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip([hp.channels, *hp.widths], hp.widths, strict=False):
            layers += [nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        layers.append(nn.Conv2d(hp.widths[-1], 1, kernel_size=4))  # 4x4 → 1x1
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits.flatten()


FAMILY = Family(
    name="dcgan",
    task=Task.UNCONDITIONAL,
    hparams=DcganHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1511.06434",
    extras={"discriminator": Discriminator},
)
