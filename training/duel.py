"""One discriminator against one generator: how one batch changes both. The adversarial families and the laboratory share it.

Every technique of `[loss]`, `[stabilisers]` and `[optimizer]` has its place here, and costs nothing, not even a random number,
where it is switched off.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.config import LossConfig, OptimizerConfig, StabiliserConfig
from training.doctor.signals import Shown
from training.losses import adversarial_loss, between, gradient_penalty, slope_penalty
from training.optimizers import make_optimizer
from training.stabilisers.features import feature_distance, features_seen
from training.stabilisers.history import History
from training.stabilisers.unrolling import unrolled
from training.stabilisers.virtual_norm import VirtuallyNormed

Inputs = tuple[Any, ...]  # tensors, or how far networks that grow have grown
Told = tuple[Tensor, dict[str, Tensor]]  # what else to minimise, and scalars to log
Beside = Callable[[Tensor], Told]  # what the generator learns beside the duel, of generated pictures
Lesson = Callable[[], Told]  # what the discriminator does


class Duelling(Protocol):
    """The tables of a config that decide a duel."""

    @property
    def loss(self) -> LossConfig: ...
    @property
    def stabilisers(self) -> StabiliserConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...


class Place(Protocol):
    """Where the networks are: see `training.device.Hardware`."""

    def autocast(self) -> AbstractContextManager[object]: ...
    def average_gradients(self, network: nn.Module) -> None: ...


@dataclass(frozen=True)
class Judged:
    """Logits (B,) of real and of generated pictures, and the features (…, B, F) that they were read from if asked for."""

    real: Tensor
    fake: Tensor
    features: tuple[Tensor, Tensor] | None = None


class Duel:
    """The two networks, their optimizers, and the losses between them.

    `augment` changes pictures before the discriminator sees them. `uniform` draws numbers (B,) in [0, 1). `members`: how many
    independent duels lie side by side in the two networks, each with an equal share of every batch; losses are means over
    all of them, and are multiplied by as many before the descent, so that each goes as it would alone.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: Duelling,
        place: Place,
        *,
        augment: Callable[[Tensor], Tensor] = lambda x: x,
        uniform: Callable[[int], Tensor] = torch.rand,
        members: int = 1,
    ) -> None:
        self.generator, self.discriminator, self.place = generator, discriminator, place
        self.config, self.stabilisers = config.loss, config.stabilisers
        self.augment, self.uniform, self.members = augment, uniform, members
        self.loss = adversarial_loss(config.loss)
        self.opt_g = make_optimizer(generator.parameters(), config.optimizer)
        self.opt_d = make_optimizer(discriminator.parameters(), config.optimizer, config.optimizer.d_learning_rate)
        self.shown: Shown | None = None  # the last batch that the discriminator learned from, for the doctor
        self.histories: dict[str, History] = {}
        if self.stabilisers.historical_averaging:
            self.histories = {"history_g": History(generator), "history_d": History(discriminator)}
        self.reference_rows = sum(m.rows for m in discriminator.modules() if isinstance(m, VirtuallyNormed))

    def step(
        self,
        real: Tensor,
        z: Tensor,
        y: Inputs = (),
        *,
        penalise: bool = True,
        beside: Beside | None = None,
        lesson: Lesson | None = None,
    ) -> dict[str, Tensor]:
        """Updates the discriminator, then the generator, on real pictures (B, …) and as many latents. Returns scalars to log.

        `y`: what both networks are given beside them. `penalise`: whether this is a step with gradient penalties.
        """
        with self.place.autocast():
            fake = self.generator(z, *y).float()
        stats, real_logits = self.teach(real, fake.detach(), y, penalise=penalise, lesson=lesson)

        # The discriminator has moved: the generator answers the new one. It only passes gradients on, so it needs none itself.
        self.discriminator.requires_grad_(False)
        # The real logits are those of a moment ago: scoring the same pictures again would be a fourth forward pass of D.
        judged = self._judge(real, fake, y, real_logits)
        adversarial = self.loss.generator(judged.real, judged.fake)
        stats["loss/g"] = adversarial.detach()
        loss = self.config.adversarial_weight * adversarial
        if judged.features is not None:
            distance = feature_distance(*judged.features, skip=self.reference_rows)
            loss = loss + self.stabilisers.feature_matching * distance
            stats["loss/features"] = distance.detach()
        if beside is not None:
            more, told = beside(fake)
            loss = loss + more
            stats |= told
        self._descend(self.generator, self.opt_g, loss, "history_g")
        self.discriminator.requires_grad_(True)
        return stats

    def teach(
        self, real: Tensor, fake: Tensor, y: Inputs = (), *, penalise: bool = True, lesson: Lesson | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """One step of the discriminator on pictures (B, …). Returns scalars to log and the logits (B,) of the real ones."""
        penalise = penalise and self.config.r1 + self.config.r2 + self.config.gradient_penalty > 0
        # The penalties differentiate with respect to the raw pictures, through the augmentation (as R3GAN does), in float32.
        real, fake = real.requires_grad_(penalise), fake.requires_grad_(penalise)
        with torch.autocast(real.device.type, enabled=False) if penalise else self.place.autocast():
            # two passes: real and generated pictures are never mixed in one batch
            real_logits = self.discriminator(self.augment(real), *y).float()
            fake_logits = self.discriminator(self.augment(fake), *y).float()
            loss = adversarial = self.loss.discriminator(real_logits, fake_logits)
            stats = {
                "loss/d": adversarial.detach(),
                "logits/real": real_logits.detach().mean(),
                "logits/fake": fake_logits.detach().mean(),
            }
            if penalise:
                for name, weight, penalty in self._penalties(real, fake, y, real_logits, fake_logits):
                    loss = loss + weight * self.config.penalty_every * penalty
                    stats[f"penalty/{name}"] = penalty.detach()
        if lesson is not None:
            more, told = lesson()
            loss = loss + more
            stats |= told
        classes = next((x for x in y if isinstance(x, Tensor)), None)
        self.shown = Shown(real.detach(), fake.detach(), real_logits.detach(), fake_logits.detach(), classes)
        self._descend(self.discriminator, self.opt_d, loss, "history_d")
        if self.config.clip:
            with torch.no_grad():
                torch._foreach_clamp_min_(list(self.discriminator.parameters()), -self.config.clip)
                torch._foreach_clamp_max_(list(self.discriminator.parameters()), self.config.clip)
        return stats, real_logits.detach()

    def _penalties(
        self, real: Tensor, fake: Tensor, y: Inputs, real_logits: Tensor, fake_logits: Tensor
    ) -> list[tuple[str, float, Tensor]]:
        """Name, weight and value of each gradient penalty that is switched on."""
        found = []
        for name, gamma, logits, images in (
            ("r1", self.config.r1, real_logits, real),
            ("r2", self.config.r2, fake_logits, fake),
        ):
            if gamma > 0:
                # a mean over logits, of which packs of pictures have one
                found.append((name, gamma / 2 * (len(images) // len(logits)), gradient_penalty(logits, images)))
        if self.config.gradient_penalty:
            middle = between(real, fake, self.uniform(len(real)).to(real.device))
            logits = self.discriminator(self.augment(middle), *y).float()
            found.append(("slope", self.config.gradient_penalty, slope_penalty(logits, middle)))
        return found

    def _judge(self, real: Tensor, fake: Tensor, y: Inputs, real_logits: Tensor) -> Judged:
        """What the generator learns from: the discriminator's word as it is now, or as it will be, and its features."""
        real = real.detach()
        with contextlib.ExitStack() as stack:
            matching = self.stabilisers.feature_matching > 0
            seen = stack.enter_context(features_seen(self.discriminator)) if matching else []
            if self.stabilisers.unrolled_steps:
                real_logits, fake_logits = unrolled(
                    self.discriminator,
                    lambda: (self.augment(real), *y),
                    lambda: (self.augment(fake), *y),
                    lambda r, f: self.loss.discriminator(r, f) * self.members,
                    steps=self.stabilisers.unrolled_steps,
                    rate=self.stabilisers.unrolled_rate,
                )
            else:
                with self.place.autocast():
                    if matching:
                        with torch.no_grad():
                            self.discriminator(self.augment(real), *y)
                    fake_logits = self.discriminator(self.augment(fake), *y).float()
            return Judged(real_logits, fake_logits, (seen[-2].detach(), seen[-1]) if matching else None)

    def _descend(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, history: str) -> None:
        """One step of a network's optimizer on a loss, and on the distance from its past if that is switched on."""
        if self.histories:
            loss = loss + self.stabilisers.historical_averaging * self.histories[history].distance(network)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss * self.members)
        self.place.average_gradients(network)
        optimizer.step()
        if self.histories:
            self.histories[history].take(network)
