"""Filling holes of any shape: context encoders, Pathak et al. 2016, https://arxiv.org/abs/1604.07379.

The picture and its hole go through a U-Net as in `pix2pix`; what is known is put over the answer, so it can't change.
Departures: holes are of any shape (Liu et al. 2018, https://arxiv.org/abs/1804.07723) and are told to the network as one more
channel; and noise sets the scale and shift of every layer on the way up, so that each seed fills the hole in its own way.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks import FilmNorm, PatchDiscriminator, halvings
from models.family import Family
from models.tasks import Task
from models.unet import Unet, UnetHParams


class InpaintHParams(UnetHParams):
    """Hyper-parameters of the inpainting family."""

    resolution: int = Field(64, ge=16, le=1024)  # of the pictures that it learned on, px
    z_dim: int = Field(16, ge=1, le=1024)
    depth: int = Field(4, ge=2, le=9)
    # d_halvings 3: patches of 46 px

    @property
    def given_channels(self) -> int:
        return self.channels + 1

    @property
    def noise_dim(self) -> int:
        return self.z_dim


def with_hole(x: Tensor, hole: Tensor) -> Tensor:
    """Images x (B, C, H, W) in [-1, 1], hole (B, 1, H, W), 1 where nothing is known → (B, C + 1, H, W) for networks."""
    return torch.cat([x * (1 - hole), hole * 2 - 1], dim=1)


class NoisyUp(nn.Module):
    """x (B, a, H, W) and z (B, z_dim) → (B, b, 2H, 2W)."""

    def __init__(self, a: int, b: int, z_dim: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(a, b, kernel_size=4, stride=2, padding=1)
        self.norm = FilmNorm(b, z_dim)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x), z))


class Generator(Unet):
    """`with_hole` (B, channels + 1, h, w) and z (B, z_dim) → images (B, channels, h, w) in [-1, 1], the hole filled.

    h and w are multiples of 2 ** depth.
    """

    def __init__(self, hp: InpaintHParams) -> None:
        super().__init__(hp, lambda a, b: NoisyUp(a, b, hp.z_dim))
        self.up = NoisyUp(self.inner_width, hp.widths[0], hp.z_dim)
        self.to_image = nn.Conv2d(hp.widths[0] + hp.given_channels, hp.channels, kernel_size=3, padding=1)

    def forward(self, given: Tensor, z: Tensor) -> Tensor:
        made = torch.tanh(self.to_image(torch.cat([self.up(self.inside(given, z), z), given], dim=1)))
        return torch.where(given[:, -1:] > 0, made, given[:, :-1])


class Discriminator(PatchDiscriminator):
    """Images (B, channels, H, W) in [-1, 1] and the `with_hole` that they fill → logits (B, h, w), one a patch."""

    def __init__(self, hp: InpaintHParams) -> None:
        widths = hp.d_widths
        flat = nn.Conv2d(widths[-1], widths[-1], kernel_size=3, padding=1)
        layers = [*halvings(hp.channels + 1, widths), flat]
        super().__init__(layers, nn.Conv2d(widths[-1], 1, kernel_size=3, padding=1))

    def features(self, x: Tensor, *beside: Tensor) -> list[Tensor]:
        """What each layer makes of images, first layer first. Of `with_hole` it sees the hole alone."""
        return super().features(x, *(given[:, -1:] for given in beside))


FAMILY = Family(
    name="inpaint",
    task=Task.INPAINTING,
    hparams=InpaintHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1604.07379",
)
