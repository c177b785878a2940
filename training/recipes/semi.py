"""The recipe of `semi`: a duel by feature matching, whose discriminator has a teacher for the classes."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from models.families.semi import Discriminator
from models.family import ClassifyingHParams, Family
from models.progress import Progress
from training.config import ConfigError, TrainConfig
from training.data import LabelledImages
from training.device import Hardware
from training.recipes.adversarial import AdversarialRecipe
from training.teacher import Teacher


class SemiRecipe(AdversarialRecipe):
    """As other duels; beside telling real from generated, the discriminator learns the classes: see `training.teacher`."""

    publishes: ClassVar[Mapping[str, str]] = {"generator": "ema", "classifier": "teacher"}

    def __init__(self, config: TrainConfig, family: Family, hparams: ClassifyingHParams, hardware: Hardware) -> None:
        super().__init__(config, family, hparams, hardware)
        if not isinstance(self.discriminator, Discriminator) or config.optimizer.d_steps > 1:
            raise ConfigError(f"family '{config.family}' can't use stabilisers.minibatch, pack, virtual_batch, or d_steps")
        self.teacher = Teacher(config, self.discriminator, hparams, hardware)
        self.networks |= self.teacher.networks
        self.share = config.teacher.duel

    def begin(self, data: LabelledImages, progress: Progress) -> None:
        super().begin(data, progress)
        self.teacher.begin(data)

    def step(self, batch: tuple[Tensor, ...], step: int, images_seen: int) -> dict[str, Tensor]:
        stats = super().step(batch, step, images_seen)
        self.teacher.follow(len(batch[0]) * self.hardware.processes, images_seen)
        return stats

    def _last_part(self, real: Tensor, labels: Tensor, *, penalise: bool) -> dict[str, Tensor]:
        del labels  # those that are known are the teacher's
        shared = real[: max(1, round(self.share * len(real)))]
        return self.duel.step(shared, self._latents(shared), penalise=penalise, lesson=lambda: self.teacher.lesson(real))
