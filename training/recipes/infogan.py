"""InfoGAN: a recogniser learns to read the codes of generated pictures, and the generator to write them legibly.

Chen et al. 2016, https://arxiv.org/abs/1606.03657: what both minimise bounds the information that pictures hold on their codes.
Which kinds of picture become the categories is left to chance there, and to the seed. With `info.clustering` the recogniser
also looks for categories in real pictures, by invariant information clustering (Ji et al. 2019, https://arxiv.org/abs/1807.06653):
those that say most about what a picture and the same picture, moved a little, have in common. No label is looked at.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from models.codes import category
from models.families.infogan import InfoGanHParams, Recogniser, degrees_of
from models.family import Family
from training.augment import affine
from training.config import ConfigError, SnapshotConfig, TrainConfig
from training.data import LabelledImages
from training.device import Hardware
from training.optimizers import make_optimizer
from training.pictures import draw_codes
from training.recipes.adversarial import AdversarialRecipe

RARE = 1e-6  # joint probabilities are no smaller, where their logarithm is taken


class InfoGanRecipe(AdversarialRecipe):
    """A discriminator and a recogniser against one generator."""

    publishes: ClassVar[Mapping[str, str]] = {**AdversarialRecipe.publishes, "recogniser": "recogniser"}

    def __init__(self, config: TrainConfig, family: Family, hparams: InfoGanHParams, hardware: Hardware) -> None:
        super().__init__(config, family, hparams, hardware)
        if len(config.info.names) != hparams.codes:
            raise ConfigError(f"info.names: this generator has {hparams.codes} codes, and {len(config.info.names)} have names")
        self.info, self.hp = config.info, hparams
        self.recogniser = hardware.place(Recogniser(hparams))
        self.opt_r = make_optimizer(self.recogniser.parameters(), config.optimizer)
        self.networks["recogniser"] = self.recogniser
        self.optimizers["recogniser"] = self.opt_r

    def _last_part(self, real: Tensor, labels: Tensor, *, penalise: bool) -> dict[str, Tensor]:
        z = self._latents(real)
        self.opt_r.zero_grad(set_to_none=True)
        clustered = self._cluster(real) if self.info.clustering else {}
        # the generator's descent fills the recogniser's gradients, too: they minimise the same
        stats = self.duel.step(real, z, penalise=penalise, beside=lambda fake: self._read(fake, z))
        self.hardware.average_gradients(self.recogniser)
        self.opt_r.step()
        return stats | clustered

    def _read(self, fake: Tensor, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """How badly the codes of generated pictures (B, C, H, W) are read, and scalars to log."""
        chosen, degrees = z[:, self.hp.noise_dim], z[:, self.hp.noise_dim + 1 :]
        told = category(chosen, self.hp.categories)
        with self.hardware.autocast():
            # a category that is read from moved pictures can't be a slant or a size: those are left to the other codes
            kinds = self.recogniser(affine(fake) if self.info.moved else fake)[:, : self.hp.categories].float()
        loss = self.info.category * F.cross_entropy(kinds, told)
        stats = {"codes/category": (kinds.argmax(dim=1) == told.argmax(dim=1)).float().mean()}
        if self.hp.continuous:
            with self.hardware.autocast():
                slopes = self.recogniser(fake)[:, self.hp.categories :].float()
            distance = F.mse_loss(slopes, degrees_of(degrees))
            loss = loss + self.info.continuous * distance
            stats["codes/continuous"] = distance.detach()
        return loss, stats

    def _cluster(self, real: Tensor) -> dict[str, Tensor]:
        """Adds to the recogniser's gradients those of telling kinds of real pictures apart."""
        with self.hardware.autocast():
            read = self.recogniser(torch.cat([affine(real), affine(real)])).float()
        one, other = F.softmax(read[:, : self.hp.categories], dim=1).chunk(2)
        shared = mutual_information(one, other)
        torch.autograd.backward(-self.info.clustering * shared)
        return {"codes/shared": shared.detach()}

    def preview(self, data: LabelledImages, every: SnapshotConfig) -> bytes:
        return draw_codes(self.ema.network, self.hp, every.sheet_columns)


def mutual_information(one: Tensor, other: Tensor) -> Tensor:
    """Of the categories of two views of the same pictures, whose probabilities are (B, K) each: nats, 0 to log K.

    Equation 3 of the paper on invariant information clustering.
    """
    joint = one.T @ other / len(one)
    joint = ((joint + joint.T) / 2).clamp(min=RARE)
    alone = joint.sum(dim=0).log()
    return (joint * (joint.log() - alone[:, None] - alone[None, :])).sum()
