"""Picture to picture, learnt from pairs: pix2pix, Isola et al. 2016, https://arxiv.org/abs/1611.07004.

A U-Net answers, and a discriminator looks at patches of question and answer together. Departures: GroupNorm instead of
BatchNorm, and no dropout: the reference implementation runs its generator in training mode for the noise that these give, so
that its answer depends on what else is in the batch and is another one every time. Here the same picture gets the same answer.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from models.blocks import PatchDiscriminator, Up, halvings
from models.family import Family
from models.tasks import Task
from models.unet import Unet, UnetHParams


class Pix2pixHParams(UnetHParams):
    """Hyper-parameters of the paired translation family."""

    resolution: int = Field(128, ge=16, le=1024)  # of the pictures that it learned on, px
    in_channels: int = Field(3, ge=1, le=4)
    # d_halvings 3: patches of 70 px, as in the paper; 2: of 34

    @property
    def given_channels(self) -> int:
        return self.in_channels


class Generator(Unet):
    """Images x (B, in_channels, h, w) in [-1, 1] → (B, channels, h, w) in [-1, 1]; h and w are multiples of 2 ** depth."""

    def __init__(self, hp: Pix2pixHParams) -> None:
        super().__init__(hp, Up)
        self.to_image = nn.ConvTranspose2d(self.inner_width, hp.channels, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.to_image(self.inside(x)))


class Discriminator(PatchDiscriminator):
    """Images (B, channels, H, W) and what they answer (B, in_channels, H, W), in [-1, 1] → logits (B, h, w), one a patch."""

    def __init__(self, hp: Pix2pixHParams) -> None:
        widths = hp.d_widths
        flat = nn.Conv2d(widths[-1], widths[-1], kernel_size=4, padding=1)
        layers = [*halvings(hp.channels + hp.in_channels, widths), flat]
        super().__init__(layers, nn.Conv2d(widths[-1], 1, kernel_size=4, padding=1))


FAMILY = Family(
    name="pix2pix",
    task=Task.TRANSLATION,
    hparams=Pix2pixHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1611.07004",
)
