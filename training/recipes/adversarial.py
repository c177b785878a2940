"""One generator against one discriminator, with or without labels: the recipe of `mlp`, `dcgan` and `conditional`.

`training.recipes.progressive` adds growth. The update itself, which the laboratory shares, is in `training.duel`.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from models.family import Family, LatentHParams
from models.progress import Progress
from training.augment import augment
from training.config import ConfigError, SnapshotConfig, StabiliserConfig, TrainConfig
from training.data import LabelledImages
from training.device import Hardware
from training.doctor.signals import Shown
from training.duel import Duel, Inputs
from training.ema import Ema
from training.guide import Guide
from training.losses import normalise_spectrally
from training.pictures import draw_sheet
from training.stabilisers import give_reference, is_plain, stabilised


class AdversarialRecipe:
    """Alternates discriminator and generator updates.

    Generated pictures have the labels of the real ones beside them, so the classes are as frequent as in the data.
    """

    publishes: ClassVar[Mapping[str, str]] = {"generator": "ema", "discriminator": "discriminator"}

    def __init__(self, config: TrainConfig, family: Family, hparams: LatentHParams, hardware: Hardware) -> None:
        self.hparams, self.hardware = hparams, hardware
        if config.loss.adversarial_weight == config.stabilisers.feature_matching == 0:
            raise ConfigError("loss.adversarial_weight and stabilisers.feature_matching are both 0: the generator can't learn")
        self.generator = hardware.place(family.generator(hparams))
        self.discriminator = hardware.place(self._make_discriminator(config.stabilisers, family))
        if config.loss.spectral_norm:
            normalise_spectrally(self.discriminator)
        self.ema = Ema(self.generator, config.ema.half_life_images, config.ema.ramp)
        self.duel = Duel(
            self.generator, self.discriminator, config, hardware, augment=lambda pictures: augment(pictures, config.augment)
        )
        # under a name of its own where it is not its family's, and so can't be published
        judge = "discriminator" if is_plain(config.stabilisers) else "judge"
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            judge: self.discriminator,
            "ema": self.ema.network,
            **{name: hardware.place(history) for name, history in self.duel.histories.items()},
        }
        self.optimizers: dict[str, Optimizer] = {"generator": self.duel.opt_g, "discriminator": self.duel.opt_d}
        self.guide: Guide | None = None
        if config.guide.features or config.guide.twins:
            self.guide = Guide(config, self.duel.loss, hparams.resolution, hparams.channels, hparams.classes, hardware)
            self.networks |= self.guide.networks
            self.optimizers |= self.guide.optimizers
        self.penalty_every, self.virtual_batch = config.loss.penalty_every, config.stabilisers.virtual_batch
        self.d_steps = config.optimizer.d_steps
        share = config.batch // hardware.processes
        if share % (self.d_steps * config.stabilisers.pack):
            raise ConfigError(
                f"batch: {share} pictures in a process can't be cut into {self.d_steps} (optimizer.d_steps) parts of packs of "
                f"{config.stabilisers.pack} (stabilisers.pack)"
            )

    def _make_discriminator(self, config: StabiliserConfig, family: Family) -> nn.Module:
        """The family's own, with what the config adds to it."""
        hp = self.hparams
        example: tuple[Tensor, ...] = (torch.zeros(1, hp.channels, hp.resolution, hp.resolution),)
        if hp.classes:
            example = (*example, torch.zeros(1, hp.classes))
        return stabilised(
            lambda times: family.discriminator(hp.model_copy(update={"channels": times * hp.channels})), config, example
        )

    @property
    def shown(self) -> Shown | None:
        """The last batch that the discriminator learned from."""
        return self.duel.shown

    def begin(self, data: LabelledImages, progress: Progress) -> None:
        if self.virtual_batch:
            if self.virtual_batch > len(data):
                raise ConfigError(f"stabilisers.virtual_batch is {self.virtual_batch}, and there are only {len(data)} pictures")
            reference, _ = data.batch(torch.arange(self.virtual_batch), mirror=False)
            give_reference(self.discriminator, reference.to(self.hardware.device))
        if self.guide is not None:
            self.guide.learn(data, progress)

    def step(self, batch: tuple[Tensor, ...], step: int, images_seen: int) -> dict[str, Tensor]:
        real, labels = batch
        penalise = (step + 1) % self.penalty_every == 0
        *early, last = zip(real.chunk(self.d_steps), labels.chunk(self.d_steps), strict=True)
        for pictures, theirs in early:
            y = self._condition(pictures, theirs)
            with torch.no_grad(), self.hardware.autocast():
                fake = self.generator(self._latents(pictures), *y).float()
            self.duel.teach(pictures, fake, y, penalise=penalise)
        stats = self._last_part(*last, penalise=penalise)
        self.ema.update(self.generator, len(real) * self.hardware.processes, images_seen)
        return stats

    def _last_part(self, real: Tensor, labels: Tensor, *, penalise: bool) -> dict[str, Tensor]:
        """One step of both networks. Returns scalars to log."""
        y, z = self._condition(real, labels), self._latents(real)
        guide = self.guide
        if guide is None:
            return self.duel.step(real, z, y, penalise=penalise)

        def guided(fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            judged = guide.judge(real, fake, labels, y, penalise=penalise)
            return judged.loss, judged.stats

        return self.duel.step(real, z, y, penalise=penalise, beside=guided)

    def _latents(self, real: Tensor) -> Tensor:
        return torch.randn(len(real), self.hparams.z_dim, device=real.device)

    def _condition(self, real: Tensor, labels: Tensor) -> Inputs:
        """What both networks are given: class weights (B, classes) for label-conditional families; nothing for others."""
        return (F.one_hot(labels, self.hparams.classes).to(real.dtype),) if self.hparams.classes else ()

    def preview(self, data: LabelledImages, every: SnapshotConfig) -> bytes:
        return draw_sheet(self.ema.network, self.hparams, every.sheet_columns, every.sheet_rows)
