"""Two generators and two discriminators that learn to translate without pairs: the update of `cyclegan`.

Zhu et al. 2017, https://arxiv.org/abs/1703.10593: what is translated there and back must come back the same (cycle loss), what
is in the wanted domain already must stay as it is (identity loss), and each discriminator also sees older translations
(image pool, https://arxiv.org/abs/1612.07828). Instead of the way back, or with it, patches may tell of their originals (see
`training.contrast`): a fifth less work.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from models.families.cyclegan import CycleganHParams
from models.family import Family
from models.pixels import to_uint8
from models.progress import Progress
from training.augment import augment
from training.config import ConfigError, SnapshotConfig, TrainConfig
from training.contrast import PatchContrast
from training.data import TrainingData
from training.device import Hardware
from training.doctor.signals import Shown
from training.ema import Ema
from training.losses import adversarial_loss, gradient_penalty
from training.optimizers import make_optimizer
from training.pictures import png, spread, tile
from training.stabilisers import refuse_duels

POOL = 50  # older translations that each discriminator may see again
SHOWN = 3  # pictures of an example: as it was, translated, and brought back
IDENTITY_EVERY = 4  # steps, for speed: the identity loss changes little from one to the next, and is weighted by as much


class Pool(nn.Module):
    """The latest translations, of which half of a discriminator's batch comes. A network only so that it is saved with them."""

    def __init__(self, channels: int, side: int, device: torch.device) -> None:
        super().__init__()
        self.pictures: Tensor
        self.filled: Tensor
        self.register_buffer("pictures", torch.zeros(POOL, channels, side, side, device=device))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def exchange(self, fresh: Tensor) -> Tensor:
        """Fresh translations (B, C, H, W) → as many, each with probability ½ an older one, in whose place it is kept."""
        shown = []
        for picture in fresh:
            filled = int(self.filled)
            if filled < POOL:
                self.pictures[filled] = picture
                self.filled += 1
                shown.append(picture)
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(POOL, ()))
                shown.append(self.pictures[place].clone())
                self.pictures[place] = picture
            else:
                shown.append(picture)
        return torch.stack(shown)


class CycleganRecipe:
    """Updates both generators together, then both discriminators."""

    publishes: ClassVar[Mapping[str, str]] = {"generator": "ema", "back": "ema_back"}

    def __init__(self, config: TrainConfig, family: Family, hparams: CycleganHParams, hardware: Hardware) -> None:
        refuse_duels(config)
        self.hparams, self.hardware, self.weights, self.policy = hparams, hardware, config.loss, config.augment
        self.loss = adversarial_loss(config.loss)
        if config.loss.cycle == config.loss.contrast == 0:
            raise ConfigError(
                "loss.cycle and loss.contrast are 0: nothing would tie a translation to what it translates. Papers take 10 or 1"
            )
        self.there, self.back = (hardware.place(family.generator(hparams)) for _ in range(2))
        self.judge_b, self.judge_a = (hardware.place(family.discriminator(hparams)) for _ in range(2))
        self.pool_b, self.pool_a = (Pool(hparams.channels, hparams.resolution, hardware.device) for _ in range(2))
        self.ema_there, self.ema_back = (Ema(g, config.ema.half_life_images, config.ema.ramp) for g in (self.there, self.back))
        self.networks: dict[str, nn.Module] = {
            "generator": self.there, "back": self.back, "judge_b": self.judge_b, "judge_a": self.judge_a,
            "ema": self.ema_there.network, "ema_back": self.ema_back.network, "pool_b": self.pool_b, "pool_a": self.pool_a,
        }  # fmt: skip
        self.shown: Shown | None = None  # for the doctor
        self.contrasts: tuple[PatchContrast, ...] = ()
        if config.loss.contrast:
            full, half, quarter = hparams.widths
            self.contrasts = tuple(hardware.place(PatchContrast((full, half, quarter, quarter))) for _ in range(2))
            self.networks |= dict(zip(("contrast", "contrast_back"), self.contrasts, strict=True))
        learning = [p for network in (self.there, self.back, *self.contrasts) for p in network.parameters()]
        self.opt_g = make_optimizer(learning, config.optimizer)
        judging = [*self.judge_b.parameters(), *self.judge_a.parameters()]
        self.opt_d = make_optimizer(judging, config.optimizer, config.optimizer.d_learning_rate)
        self.optimizers: dict[str, Optimizer] = {"generators": self.opt_g, "discriminators": self.opt_d}

    def begin(self, data: TrainingData, progress: Progress) -> None:
        """Nothing to prepare."""

    def step(self, batch: tuple[Tensor, ...], step: int, images_seen: int) -> dict[str, Tensor]:
        a, b = batch
        for judge in (self.judge_a, self.judge_b):
            judge.requires_grad_(False)
        with self.hardware.autocast():
            fake_b, fake_a = self.there(a).float(), self.back(b).float()
            words = [self._word(self.judge_b, b, fake_b), self._word(self.judge_a, a, fake_a)]
        adversarial = torch.stack(words).sum()
        loss, stats = adversarial, {"loss/g": adversarial.detach()}
        if self.weights.cycle:
            with self.hardware.autocast():
                cycle = F.l1_loss(self.back(fake_b).float(), a) + F.l1_loss(self.there(fake_a).float(), b)
            loss = loss + self.weights.cycle * cycle
            stats["loss/cycle"] = cycle.detach()
        if self.contrasts:
            contrast = self._contrast(a, b, fake_a, fake_b)
            loss = loss + self.weights.contrast * contrast
            stats["loss/contrast"] = contrast.detach()
        if self.weights.identity and (step + 1) % IDENTITY_EVERY == 0:
            with self.hardware.autocast():
                identity = F.l1_loss(self.there(b).float(), b) + F.l1_loss(self.back(a).float(), a)
            loss = loss + IDENTITY_EVERY * self.weights.identity * identity
            stats["loss/identity"] = identity.detach()
        self.shown = Shown(b, fake_b.detach())
        self.opt_g.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for network in (self.there, self.back, *self.contrasts):
            self.hardware.average_gradients(network)
        self.opt_g.step()
        for judge in (self.judge_a, self.judge_b):
            judge.requires_grad_(True)

        penalise = (step + 1) % self.weights.penalty_every == 0
        pooled_b, pooled_a = self.pool_b.exchange(fake_b.detach()), self.pool_a.exchange(fake_a.detach())
        shown = ((self.judge_b, b, pooled_b), (self.judge_a, a, pooled_a))
        stats |= self._update_discriminators(shown, penalise=penalise)
        seen = len(a) * self.hardware.processes
        self.ema_there.update(self.there, seen, images_seen)
        self.ema_back.update(self.back, seen, images_seen)
        return stats

    def _contrast(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor) -> Tensor:
        """How badly patches of translations tell of their originals, both ways; each generator's own way down looks."""
        losses = []
        generators: tuple[Any, ...] = (self.there, self.back)
        for contrast, generator, real, fake in zip(self.contrasts, generators, (a, b), (fake_b, fake_a), strict=True):
            with torch.no_grad(), self.hardware.autocast():
                given = generator.features(real)
            with self.hardware.autocast():
                losses.append(contrast(generator.features(fake), given))
        return torch.stack(losses).sum()

    def _word(self, judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """What a discriminator says of translations: the adversarial loss."""
        with torch.no_grad():  # some losses compare with real pictures
            real_logits = judge(augment(real, self.policy)).float()
        return self.loss.generator(real_logits, judge(augment(fake, self.policy)).float())

    def _update_discriminators(
        self, shown: tuple[tuple[nn.Module, Tensor, Tensor], ...], *, penalise: bool
    ) -> dict[str, Tensor]:
        """One step of both, each on (itself, real pictures, translations). Returns scalars to log."""
        penalise = penalise and self.weights.r1 > 0
        losses, penalties = [], []
        for judge, pictures, fake in shown:
            real = pictures.detach().requires_grad_(penalise)
            with torch.autocast(real.device.type, enabled=False) if penalise else self.hardware.autocast():
                real_logits = judge(augment(real, self.policy)).float()
                fake_logits = judge(augment(fake, self.policy)).float()
            losses.append(self.loss.discriminator(real_logits, fake_logits))
            if penalise:
                penalties.append(gradient_penalty(real_logits.flatten(1).mean(dim=1), real))
        loss = adversarial = torch.stack(losses).sum()
        stats = {"loss/d": adversarial.detach()}
        if penalties:
            penalty = torch.stack(penalties).sum()
            loss = loss + self.weights.r1 / 2 * self.weights.penalty_every * penalty
            stats["penalty/r1"] = penalty.detach()
        self.opt_d.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for judge, _, _ in shown:
            self.hardware.average_gradients(judge)
        self.opt_d.step()
        return stats

    @torch.no_grad()
    def preview(self, data: TrainingData, every: SnapshotConfig) -> bytes:
        """Rows of: as it was, translated, brought back; the upper half there, the lower half back."""
        columns = max(1, every.sheet_columns // SHOWN)
        half = columns * max(1, every.sheet_rows // 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            a, b = data.batch(spread(half, len(data)), mirror=False)
        there, back = self.ema_there.network, self.ema_back.network
        rows = []
        for taken, forth, home in ((a, there, back), (b, back, there)):
            pictures = taken.to(self.hardware.device)
            translated = forth(pictures)
            rows.append(torch.stack([to_uint8(x) for x in (pictures, translated, home(translated))], dim=1).flatten(0, 1).cpu())
        return png(tile(torch.cat(rows), columns * SHOWN))
