"""Semi-supervised GAN: small pictures, and a discriminator that learns to tell their classes apart from a few labels.

Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 5: the discriminator has a logit for each of K classes, and to
be generated is one more class, whose logit is 0. So D(x) = Z / (Z + 1) with Z = Σ exp(logits), and the logit of that is log Z.
Departures: GroupNorm in both networks, where the paper has weight normalisation and BatchNorm (see `blocks.groups`); five
strided convolutions instead of nine with dropout, for CPUs.
"""

from typing import Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from models.blocks import SLOPE, Up, groups, leaky
from models.family import ClassifyingHParams, Family
from models.tasks import Task


class SemiHParams(ClassifyingHParams):
    """Hyper-parameters of the semi-supervised family."""

    z_dim: int = Field(64, ge=1, le=1024)
    resolution: int = Field(28, ge=8, le=128)  # height and width, px
    channels: int = Field(1, ge=1, le=4)
    width: int = Field(64, ge=8, le=512)  # feature maps of the generator's smallest picture
    d_width: int = Field(16, ge=8, le=256)  # of the discriminator's first layer
    feature_dim: int = Field(128, ge=8, le=4096)  # of its last one, which the generator matches

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        if self.resolution % 4 or self.width % 2:
            raise ValueError(f"resolution {self.resolution} must be a multiple of 4 px, and width {self.width} even")
        return self


class Generator(nn.Module):
    """Latents z (B, z_dim) → images (B, channels, resolution, resolution) in [-1, 1]."""

    def __init__(self, hp: SemiHParams) -> None:
        super().__init__()
        self.shape = (hp.width, hp.resolution // 4, hp.resolution // 4)
        self.stem = nn.Linear(hp.z_dim, hp.width * (hp.resolution // 4) ** 2)
        self.norm = nn.GroupNorm(groups(hp.width), hp.width)
        self.up = Up(hp.width, hp.width // 2)
        self.to_image = nn.ConvTranspose2d(hp.width // 2, hp.channels, kernel_size=4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.norm(self.stem(z).reshape(-1, *self.shape)).relu()
        images: Tensor = self.to_image(self.up(x))
        return images.tanh()


def _block(a: int, b: int, *, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(a, b, kernel, stride, padding=1), nn.GroupNorm(groups(b), b), nn.LeakyReLU(SLOPE)]


class Classifier(nn.Module):
    """Images x (B, channels, resolution, resolution) in [-1, 1] → a logit for each class (B, K)."""

    def __init__(self, hp: SemiHParams) -> None:
        super().__init__()
        a = hp.d_width
        self.trunk = nn.Sequential(
            nn.Conv2d(hp.channels, a, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            *_block(a, 2 * a, kernel=3, stride=1),
            *_block(2 * a, 2 * a, kernel=4, stride=2),
            *_block(2 * a, 4 * a, kernel=3, stride=1),
            *_block(4 * a, 4 * a, kernel=3, stride=2),  # rounds up: 7 px to 4
            nn.Flatten(),
        )
        side = (hp.resolution // 4 + 1) // 2
        self.features = nn.Linear(4 * a * side * side, hp.feature_dim)
        self.head = nn.Linear(hp.feature_dim, len(hp.label_names))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(leaky(self.features(self.trunk(x))))
        return logits


class Discriminator(Classifier):
    """Images x (B, channels, resolution, resolution) in [-1, 1] → logits (B,) of being real: log Z of the classes' logits."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).logsumexp(dim=1)

    def classify(self, x: Tensor) -> Tensor:
        """A logit for each class (B, K)."""
        return super().forward(x)


FAMILY = Family(
    name="semi",
    task=Task.UNCONDITIONAL,
    hparams=SemiHParams,
    generator=Generator,
    discriminator=Discriminator,
    paper="https://arxiv.org/abs/1606.03498",
    extras={"classifier": Classifier},
)
