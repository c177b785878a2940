"""One generator against one discriminator, with or without labels: the update of `mlp`, `dcgan` and `conditional`."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from models.family import Family, LatentHParams
from models.progress import Progress
from training.augment import augment
from training.config import ConfigError, SnapshotConfig, TrainConfig
from training.data import LabelledImages
from training.device import Hardware
from training.ema import Ema
from training.guide import Guide
from training.losses import LOSSES, gradient_penalty, normalise_spectrally
from training.pictures import draw_sheet


class AdversarialRecipe:
    """Alternates one discriminator and one generator update.

    Generated pictures have the labels of the real ones beside them, so the classes are as frequent as in the data.
    """

    publishes: ClassVar[Mapping[str, str]] = {"generator": "ema", "discriminator": "discriminator"}

    def __init__(self, config: TrainConfig, family: Family, hparams: LatentHParams, hardware: Hardware) -> None:
        self.hparams = hparams
        self.hardware = hardware
        self.generator = hardware.place(family.generator(hparams))
        self.discriminator = hardware.place(family.discriminator(hparams))
        if config.loss.spectral_norm:
            normalise_spectrally(self.discriminator)
        self.ema = Ema(self.generator, config.ema.half_life_images, config.ema.ramp)
        rate = config.optimizer.learning_rate
        betas = config.optimizer.betas
        self.opt_g = Adam(self.generator.parameters(), lr=rate, betas=betas, fused=True)
        d_rate = config.optimizer.d_learning_rate or rate
        self.opt_d = Adam(self.discriminator.parameters(), lr=d_rate, betas=betas, fused=True)
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema": self.ema.network,
        }
        self.optimizers: dict[str, Optimizer] = {"generator": self.opt_g, "discriminator": self.opt_d}
        self.loss = LOSSES[config.loss.adversarial]
        self.guide: Guide | None = None
        if config.guide.features or config.guide.twins:
            if not hparams.classes:
                raise ConfigError("guide: only a label-conditional family can be guided by a classifier")
            self.guide = Guide(config, self.loss, hparams.resolution, hparams.channels, hparams.classes, hardware)
            self.networks |= self.guide.networks
            self.optimizers |= self.guide.optimizers
        self.r1, self.r2, self.penalty_every = config.loss.r1, config.loss.r2, config.loss.penalty_every
        self.policy = config.augment

    def begin(self, data: LabelledImages, progress: Progress) -> None:
        if self.guide is not None:
            self.guide.learn(data, progress)

    def step(self, batch: tuple[Tensor, ...], step: int, images_seen: int) -> dict[str, Tensor]:
        real, labels = batch
        y: tuple[Tensor, ...] = ()
        if self.hparams.classes:
            y = (F.one_hot(labels, self.hparams.classes).to(real.dtype),)
        z = torch.randn(len(real), self.hparams.z_dim, device=real.device)
        with self.hardware.autocast():
            fake = self.generator(z, *y).float()

        penalise = (step + 1) % self.penalty_every == 0
        stats, real_logits = self._update_discriminator(real, fake.detach(), y, penalise=penalise)

        # The discriminator has moved: the generator answers the new one. It only passes gradients on, so it needs none itself.
        self.discriminator.requires_grad_(False)
        with self.hardware.autocast():
            fake_logits = self.discriminator(augment(fake, self.policy), *y).float()
        # The real logits are those of a moment ago: scoring the same pictures again would be a fourth forward pass of D.
        loss_g = self.loss.generator(real_logits, fake_logits)
        stats["loss/g"] = loss_g.detach()
        if self.guide is not None:
            judged = self.guide.judge(real, fake, labels, y[0], penalise=penalise)
            loss_g = loss_g + judged.loss
            stats |= judged.stats
        self.opt_g.zero_grad(set_to_none=True)
        torch.autograd.backward(loss_g)
        self.hardware.average_gradients(self.generator)
        self.opt_g.step()
        self.discriminator.requires_grad_(True)

        self.ema.update(self.generator, len(real) * self.hardware.processes, images_seen)
        return stats

    def _update_discriminator(
        self, real: Tensor, fake: Tensor, y: tuple[Tensor, ...], *, penalise: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """One step of the discriminator. Returns scalars to log and the logits (B,) of the real pictures."""
        penalise = penalise and self.r1 + self.r2 > 0
        # The penalties differentiate with respect to the raw pictures, through the augmentation (as R3GAN does), in float32.
        real, fake = real.requires_grad_(penalise), fake.requires_grad_(penalise)
        with torch.autocast(real.device.type, enabled=False) if penalise else self.hardware.autocast():
            # two passes: real and generated pictures are never mixed in one batch
            real_logits = self.discriminator(augment(real, self.policy), *y).float()
            fake_logits = self.discriminator(augment(fake, self.policy), *y).float()
        loss = adversarial = self.loss.discriminator(real_logits, fake_logits)
        stats = {
            "loss/d": adversarial.detach(),
            "logits/real": real_logits.detach().mean(),
            "logits/fake": fake_logits.detach().mean(),
        }
        if penalise:
            for name, gamma, logits, images in (("r1", self.r1, real_logits, real), ("r2", self.r2, fake_logits, fake)):
                if gamma > 0:
                    penalty = gradient_penalty(logits, images)
                    loss = loss + gamma / 2 * self.penalty_every * penalty
                    stats[f"penalty/{name}"] = penalty.detach()
        self.opt_d.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.hardware.average_gradients(self.discriminator)
        self.opt_d.step()
        return stats, real_logits.detach()

    def preview(self, data: LabelledImages, every: SnapshotConfig) -> bytes:
        return draw_sheet(self.ema.network, self.hparams, every.sheet_columns, every.sheet_rows)
