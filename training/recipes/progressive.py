"""Growing: small pictures first, a level more at a time. Karras et al. 2018, https://arxiv.org/abs/1710.10196.

How far both networks have grown is a function of the pictures seen (`training.schedule.stage_at`), so a killed run goes on as
it was. With `growth.images` empty the very same networks are trained at full size from the first picture.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.blocks import doubled, halved
from models.families.progressive import Stage
from models.family import Family, LatentHParams
from training.config import ConfigError, SnapshotConfig, TrainConfig
from training.data import LabelledImages
from training.device import Hardware
from training.duel import Inputs
from training.pictures import draw_sheet
from training.recipes.adversarial import AdversarialRecipe
from training.schedule import stage_at


def shown_at(real: Tensor, stage: Stage) -> Tensor:
    """Real pictures (B, C, H, W) as they are at a stage, (B, C, r, r): made smaller, and faded in as generated ones are."""
    small = F.avg_pool2d(real, real.shape[-1] // stage.resolution)
    return small if stage.alpha == 1 else torch.lerp(doubled(halved(small)), small, stage.alpha)


def penalty_share(stage: Stage, hparams: LatentHParams) -> float:
    """What to multiply γ with: pixels at a stage over those at full size.

    The same logit has gradients twice as long with respect to pixels that are twice as wide. So weighed, penalties are worth
    the same at every level, and don't jump where one begins.
    """
    return (stage.resolution / hparams.resolution) ** 2


class ProgressiveRecipe(AdversarialRecipe):
    """One generator against one discriminator, both of them growing."""

    def __init__(self, config: TrainConfig, family: Family, hparams: LatentHParams, hardware: Hardware) -> None:
        super().__init__(config, family, hparams, hardware)
        self.growth, self.loss = config.growth, config.loss
        if config.stabilisers.virtual_batch:
            raise ConfigError("stabilisers.virtual_batch: a reference batch has one size, and these networks see several")
        if config.growth.images and len(config.growth.images) != len(hparams.resolutions) - 1:
            sides = ", ".join(map(str, hparams.resolutions[:-1]))
            raise ConfigError(f"growth.images: give a number of pictures for each of {sides} px, or none at all")
        if config.growth.images and sum(config.growth.images) + config.growth.fade > config.total_images:
            raise ConfigError(
                f"growth: the networks are full-grown after {sum(config.growth.images) + config.growth.fade} pictures, and "
                f"total_images is {config.total_images}: lower growth.images or growth.fade"
            )
        self.stage = Stage(hparams.resolution)  # what is published, whatever a run was stopped at

    def step(self, batch: tuple[Tensor, ...], step: int, images_seen: int) -> dict[str, Tensor]:
        real, labels = batch
        self.stage = stage_at(images_seen, self.growth, self.hparams.resolutions)
        share = penalty_share(self.stage, self.hparams)
        self.duel.config = self.loss.model_copy(update={"r1": self.loss.r1 * share, "r2": self.loss.r2 * share})
        stats = super().step((shown_at(real, self.stage), labels), step, images_seen)
        resolution, alpha = self.stage
        return stats | {"growth/resolution": torch.tensor(resolution), "growth/alpha": torch.tensor(alpha)}

    def _condition(self, real: Tensor, labels: Tensor) -> Inputs:
        return (self.stage,)

    def preview(self, data: LabelledImages, every: SnapshotConfig) -> bytes:
        return draw_sheet(self.ema.network, self.hparams, every.sheet_columns, every.sheet_rows, (self.stage,))
