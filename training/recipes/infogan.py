"""InfoGAN: a recogniser learns to read the codes of generated pictures, and the generator to write them legibly.

Chen et al. 2016, https://arxiv.org/abs/1606.03657: what both minimise bounds the information that pictures hold on their codes.
Which kinds of picture become the categories is left to chance there, and to the seed. With `info.clustered` they are found in
real pictures beforehand (see `training.kinds`), and the recogniser learns to read these, too. No label is looked at.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.codes import category
from models.families.infogan import InfoGanHParams, Recogniser, degrees_of
from models.family import Family
from models.pixels import from_uint8
from models.progress import Progress
from training.augment import affine
from training.config import ConfigError, SnapshotConfig, TrainConfig
from training.data import LabelledImages
from training.device import Hardware
from training.optimizers import make_optimizer
from training.pictures import draw_codes
from training.recipes.adversarial import AdversarialRecipe


class Found(nn.Module):
    """Real pictures and the kinds that were found in them. A network only so that they are saved with the others."""

    images: Tensor  # uint8 (N, C, H, W)
    kinds: Tensor  # int64 (N,)

    def __init__(self, count: int, hp: InfoGanHParams) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(count, hp.channels, hp.resolution, hp.resolution, dtype=torch.uint8))
        self.register_buffer("kinds", torch.zeros(count, dtype=torch.int64))


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
        if config.info.clustered:
            self.found = hardware.place(Found(config.info.clustered, hparams))
            self.networks["found"] = self.found
        self.optimizers["recogniser"] = self.opt_r

    def begin(self, data: LabelledImages, progress: Progress) -> None:
        super().begin(data, progress)
        count = self.info.clustered
        if count > len(data):
            raise ConfigError(f"info.clustered is {count}, and there are only {len(data)} pictures")
        if count:
            from training.kinds import kinds_of  # noqa: PLC0415  # scikit-learn takes a second, for which no other recipe waits

            self.found.images.copy_(data.images[:count])
            self.found.kinds.copy_(kinds_of(data.images[:count], self.hp.categories, progress))

    def _last_part(self, real: Tensor, labels: Tensor, *, penalise: bool) -> dict[str, Tensor]:
        z = self._latents(real)
        self.opt_r.zero_grad(set_to_none=True)
        real_ones = self._read_real(len(real)) if self.info.clustered else {}
        # the generator's descent fills the recogniser's gradients, too: they minimise the same
        stats = self.duel.step(real, z, penalise=penalise, beside=lambda fake: self._read(fake, z))
        self.hardware.average_gradients(self.recogniser)
        self.opt_r.step()
        return stats | real_ones

    def _read(self, fake: Tensor, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """How badly the codes of generated pictures (B, C, H, W) are read, and scalars to log."""
        chosen, degrees = z[:, self.hp.noise_dim], z[:, self.hp.noise_dim + 1 :]
        told = category(chosen, self.hp.categories)
        with self.hardware.autocast():
            read = self.recogniser(fake).float()
        kinds, slopes = read[:, : self.hp.categories], read[:, self.hp.categories :]
        loss = self.info.category * F.cross_entropy(kinds, told)
        stats = {"codes/category": (kinds.argmax(dim=1) == told.argmax(dim=1)).float().mean()}
        if self.hp.continuous:
            distance = F.mse_loss(slopes, degrees_of(degrees))
            loss = loss + self.info.continuous * distance
            stats["codes/continuous"] = distance.detach()
        return loss, stats

    def _read_real(self, count: int) -> dict[str, Tensor]:
        """Adds to the recogniser's gradients those of reading real pictures' kinds, also when they are moved a little."""
        rows = torch.randint(len(self.found.kinds), (count,), device=self.found.kinds.device)
        with self.hardware.autocast():
            read = self.recogniser(affine(from_uint8(self.found.images[rows])))[:, : self.hp.categories].float()
        loss = self.info.category * F.cross_entropy(read, self.found.kinds[rows])
        torch.autograd.backward(loss)
        return {"codes/found": loss.detach()}

    def preview(self, data: LabelledImages, every: SnapshotConfig) -> bytes:
        return draw_codes(self.ema.network, self.hp, every.sheet_columns)
