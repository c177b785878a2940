"""Generators that are given a picture and know the answer while they learn: the update of `srgan`, `pix2pix` and `inpaint`.

The generator's loss is a distance to the answer (L1), the discriminator's word, and the distance in the discriminator's own
features (https://arxiv.org/abs/1711.11585), each with a weight of its own; and of those that take noise, how alike two answers
to the same picture are, up to a bound (https://arxiv.org/abs/1901.09024).
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from models.families.inpaint import InpaintHParams, with_hole
from models.families.pix2pix import Pix2pixHParams
from models.families.srgan import SrganHParams, shrink
from models.family import Family, HParams
from models.pixels import from_uint8, to_uint8
from models.progress import Progress
from training.config import ConfigError, SnapshotConfig, TrainConfig
from training.data import TrainingData
from training.device import Hardware
from training.doctor.signals import Shown
from training.ema import Ema
from training.holes import random_holes
from training.losses import adversarial_loss, gradient_penalty, normalise_spectrally
from training.optimizers import make_optimizer
from training.pictures import png, spread, tile
from training.stabilisers import refuse_duels

PREVIEW_SEED = 0
APART = 0.08  # for noise that differs by 1: how far apart two answers are to be where they differ at all, of a range of 2
SHOWN = 3  # pictures of an example: what was given, what was made of it, what it should be


@dataclass(frozen=True)
class Example:
    """A batch as the networks see it: pictures float (B, C, H, W) in [-1, 1]."""

    given: Tensor  # to the generator
    wanted: Tensor  # from it
    beside: tuple[Tensor, ...] = ()  # what the discriminator sees beside an answer
    noise: tuple[Tensor, ...] = ()  # (B, z_dim), for generators that take any


def scaled_down(hparams: SrganHParams, batch: tuple[Tensor, ...]) -> Example:
    """High resolution → the low one that it would have come from, rounded to 8 bits as pictures in files are."""
    (hr,) = batch
    lr = from_uint8(to_uint8(shrink(hr, hparams.scale))).permute(0, 3, 1, 2)
    return Example(lr.contiguous(memory_format=torch.channels_last), hr)


def answered(hparams: Pix2pixHParams, batch: tuple[Tensor, ...]) -> Example:
    """Pairs as they are; the discriminator sees the question too."""
    given, wanted = batch
    return Example(given, wanted, (given,))


def with_holes(hparams: InpaintHParams, batch: tuple[Tensor, ...]) -> Example:
    """Pictures → the same with holes in them; the discriminator is told where."""
    x = batch[0]
    given = with_hole(x, random_holes(len(x), hparams.resolution).to(x.device)).contiguous(memory_format=torch.channels_last)
    return Example(given, x, (given,), (torch.randn(len(x), hparams.z_dim, device=x.device),))


EXAMPLES: dict[str, Callable[[Any, tuple[Tensor, ...]], Example]] = {
    "srgan": scaled_down,
    "pix2pix": answered,
    "inpaint": with_holes,
}


class PairedRecipe:
    """Alternates one discriminator and one generator update; the generator alone where its adversarial weight is 0.

    A run that starts from another keeps that one's averaged generator beside its own: between the two lies every degree from
    faithful to sharp (network interpolation, https://arxiv.org/abs/1809.00219).
    """

    publishes: ClassVar[Mapping[str, str]] = {"generator": "ema", "faithful": "faithful"}

    def __init__(self, config: TrainConfig, family: Family, hparams: HParams, hardware: Hardware) -> None:
        refuse_duels(config)
        self.hparams, self.hardware, self.weights = hparams, hardware, config.loss
        self.example = EXAMPLES[family.name]
        self.loss = adversarial_loss(config.loss)
        self.generator = hardware.place(family.generator(hparams))
        self.ema = Ema(self.generator, config.ema.half_life_images, config.ema.ramp)
        self.networks: dict[str, nn.Module] = {"generator": self.generator, "ema": self.ema.network}
        self.opt_g = make_optimizer(self.generator.parameters(), config.optimizer)
        self.optimizers: dict[str, Optimizer] = {"generator": self.opt_g}
        self.shown: Shown | None = None  # for the doctor
        self.discriminator: nn.Module | None = None
        if config.loss.adversarial_weight > 0:
            self.discriminator = hardware.place(family.discriminator(hparams))
            if config.loss.spectral_norm:
                normalise_spectrally(self.discriminator)
            d_rate = config.optimizer.d_learning_rate
            self.opt_d = make_optimizer(self.discriminator.parameters(), config.optimizer, d_rate)
            self.networks["discriminator"] = self.discriminator
            self.optimizers["discriminator"] = self.opt_d
        elif config.loss.l1 == 0:
            raise ConfigError("loss: adversarial_weight and l1 are both 0, so there is nothing to learn; raise one of them")
        if config.start is not None:
            self.networks["faithful"] = copy.deepcopy(self.ema.network)

    def begin(self, data: TrainingData, progress: Progress) -> None:
        """Goes on from the average of the run that this one starts from: better than its last step."""
        if "faithful" in self.networks:
            start = self.ema.network.state_dict()
            self.networks["faithful"].load_state_dict(start)
            self.generator.load_state_dict(start)

    def step(self, batch: tuple[Tensor, ...], step: int, images_seen: int) -> dict[str, Tensor]:
        example = self.example(self.hparams, batch)
        with self.hardware.autocast():
            fake = self.generator(example.given, *example.noise).float()
        distance = F.l1_loss(fake, example.wanted)
        stats, loss = {"loss/l1": distance.detach()}, self.weights.l1 * distance
        if self.weights.diversity and example.noise:
            alike = self._alike(example, fake)
            loss = loss + self.weights.diversity * alike
            stats["loss/alike"] = alike.detach()
        if self.discriminator is not None:
            penalise = (step + 1) % self.weights.penalty_every == 0
            stats |= self._update_discriminator(self.discriminator, example, fake.detach(), penalise=penalise)
            self.discriminator.requires_grad_(False)
            adversarial, matching = self._judged(self.discriminator, example, fake)
            loss = loss + self.weights.adversarial_weight * adversarial + self.weights.matching * matching
            stats |= {"loss/g": adversarial.detach(), "loss/matching": matching.detach()}
        self.opt_g.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.hardware.average_gradients(self.generator)
        self.opt_g.step()
        if self.discriminator is not None:
            self.discriminator.requires_grad_(True)
        self.ema.update(self.generator, len(fake) * self.hardware.processes, images_seen)
        return stats

    def _alike(self, example: Example, fake: Tensor) -> Tensor:
        """How much nearer than wanted another answer is, for how much its noise differs: 0 … 1, a mean over the batch.

        A mean over those pixels only that differ at all: answers are not to vary more in small holes than in large ones.
        """
        (z,) = example.noise
        other = torch.randn_like(z)
        with self.hardware.autocast():
            another = self.generator(example.given, other).float()
        difference = (another - fake).abs()
        apart = difference.sum(dim=(1, 2, 3)) / (difference > 0).sum(dim=(1, 2, 3)).clamp(min=1)
        wanted = APART * (z - other).abs().mean(dim=1)
        return F.relu(1 - apart / wanted).mean()

    def _update_discriminator(
        self, discriminator: nn.Module, example: Example, fake: Tensor, *, penalise: bool
    ) -> dict[str, Tensor]:
        """One step of the discriminator. Returns scalars to log."""
        penalise = penalise and self.weights.r1 + self.weights.r2 > 0
        real, fake = example.wanted.detach().requires_grad_(penalise), fake.requires_grad_(penalise)
        with torch.autocast(real.device.type, enabled=False) if penalise else self.hardware.autocast():
            real_logits = discriminator(real, *example.beside).float()
            fake_logits = discriminator(fake, *example.beside).float()
        loss = adversarial = self.loss.discriminator(real_logits, fake_logits)
        stats = {
            "loss/d": adversarial.detach(),
            "logits/real": real_logits.detach().mean(),
            "logits/fake": fake_logits.detach().mean(),
        }
        if penalise:
            sides = (("r1", self.weights.r1, real_logits, real), ("r2", self.weights.r2, fake_logits, fake))
            for name, gamma, logits, images in sides:
                if gamma > 0:
                    penalty = gradient_penalty(logits.flatten(1).mean(dim=1), images)  # of a picture, whatever its patches
                    loss = loss + gamma / 2 * self.weights.penalty_every * penalty
                    stats[f"penalty/{name}"] = penalty.detach()
        self.shown = Shown(real.detach(), fake.detach(), real_logits.detach(), fake_logits.detach())
        self.opt_d.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.hardware.average_gradients(discriminator)
        self.opt_d.step()
        return stats

    def _judged(self, discriminator: Any, example: Example, fake: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator, which has moved, says of the answers: the adversarial loss and the distance in features."""
        with self.hardware.autocast():
            made = discriminator.features(fake, *example.beside)
            with torch.no_grad():
                real = discriminator.features(example.wanted, *example.beside)
            fake_logits, real_logits = discriminator.read(made).float(), discriminator.read(real).float()
        matching = torch.stack([F.l1_loss(a.float(), b.float()) for a, b in zip(made, real, strict=True)]).mean()
        return self.loss.generator(real_logits, fake_logits), matching

    @torch.no_grad()
    def preview(self, data: TrainingData, every: SnapshotConfig) -> bytes:
        """Rows of: what was given, what was made of it, what it should be."""
        columns = max(1, every.sheet_columns // SHOWN)
        rows = spread(columns * every.sheet_rows, len(data))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(PREVIEW_SEED)
            batch = data.batch(rows, mirror=False)
            example = self.example(self.hparams, tuple(t.to(self.hardware.device) for t in batch))
        made = self.ema.network(example.given, *example.noise)
        given = F.interpolate(example.given[:, : made.shape[1]], size=made.shape[2:], mode="nearest")
        shown = torch.stack([to_uint8(t) for t in (given, made, example.wanted)], dim=1).flatten(0, 1).cpu()
        return png(tile(shown, columns * SHOWN))
