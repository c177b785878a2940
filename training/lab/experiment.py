"""One experiment: a config, some seeds, and what became of each of them."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from training.doctor.findings import Doctor, Finding
from training.doctor.signals import member_norms, signals
from training.duel import Duel
from training.ema import Ema
from training.feed import seed_of
from training.lab.config import LabConfig
from training.lab.distributions import Target, make_target
from training.lab.metrics import measure
from training.lab.networks import Members, Waves, normalise_members, perceptron
from training.schedule import rate_factor
from training.stabilisers import give_reference, stabilised

CHUNK = 64  # steps whose random numbers are drawn at once
WAVES_FROM, WAVES_BY = 0.4, 0.8  # parts of a run between which the discriminator comes to see its waves
ON_THE_WAY = 1000  # points that a run is measured by before its end


class Here:
    """The CPU, in single precision."""

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext()

    def average_gradients(self, network: nn.Module) -> None:
        """There are no other processes."""


class Draws:
    """Random numbers and real points of every step, each seed's from a stream of its own."""

    def __init__(self, config: LabConfig, target: Target, seeds: Sequence[int]) -> None:
        self.config, self.target = config, target
        self.generators = [torch.Generator().manual_seed(seed_of(seed, "lab")) for seed in seeds]

    def latents(self, count: int) -> Tensor:
        """z (seeds · count, z_dim + codes)."""
        return torch.cat([self._latents(count, g) for g in self.generators])

    def _latents(self, count: int, generator: torch.Generator) -> Tensor:
        z = torch.randn(count, self.config.z_dim, generator=generator)
        if not self.config.codes:
            return z
        codes = torch.randint(self.config.codes, (count,), generator=generator)
        # as high as makes their mean square 1, like that of the noise: lower ones are lost in it
        return torch.cat([z, math.sqrt(self.config.codes) * nn.functional.one_hot(codes, self.config.codes)], dim=1)

    def real(self, count: int) -> Tensor:
        """Points (seeds · count, dimensions)."""
        return torch.cat([self.target.sample(count, g) for g in self.generators])

    def uniform(self, count: int) -> Tensor:
        """Numbers in [0, 1) (count,), an equal share of each seed."""
        return torch.cat([torch.rand(count // len(self.generators), generator=g) for g in self.generators])

    def steps(self, count: int, parts: int) -> list[list[tuple[Tensor, Tensor]]]:
        """For each of `count` steps, and each of its parts: real points and latents. Drawn at once, for speed."""
        members, each = len(self.generators), count * parts * self.config.batch
        real, z = (t.reshape(members, count, parts, self.config.batch, -1) for t in (self.real(each), self.latents(each)))
        return [[(real[:, i, j].flatten(0, 1), z[:, i, j].flatten(0, 1)) for j in range(parts)] for i in range(count)]


@dataclass(frozen=True)
class Moment:
    """Where every seed's run is: arrays have one entry a seed."""

    step: int
    samples: np.ndarray  # generated points (seeds, N, D)
    scalars: dict[str, np.ndarray]  # name → (seeds,)
    findings: tuple[Finding | None, ...] = ()  # what the doctor has to tell of each seed


@dataclass(frozen=True)
class Outcome:
    """What became of an experiment."""

    config: LabConfig
    seeds: tuple[int, ...]
    final: dict[str, np.ndarray]  # metric → (seeds,)
    samples: np.ndarray  # generated points at the end (seeds, N, D)
    trace: dict[str, np.ndarray]  # name → (moments, seeds); "step" → (moments,)
    cpu_seconds: float
    findings: tuple[tuple[tuple[int, Finding], ...], ...] = ()  # of each seed: after how many steps, and what


class Experiment:
    """The networks of every seed side by side, and what happens to them."""

    def __init__(self, config: LabConfig, seeds: Sequence[int]) -> None:
        self.config, self.seeds, self.target = config, tuple(seeds), make_target(config.target)
        self.draws = Draws(config, self.target, seeds)
        members, size = len(self.seeds), self.target.dimensions
        generators = [torch.Generator().manual_seed(seed_of(seed, "networks")) for seed in seeds]
        inner = [config.hidden] * config.layers
        self.generator = perceptron((config.z_dim + config.codes, *inner, size), config.activation, generators)
        judging = [config.hidden] * (config.d_layers or config.layers)
        self.waves = [Waves(config.waves, 2 * self.target.reach)] if config.waves else []
        seen = size * (1 + 2 * config.waves)
        self.discriminator = stabilised(
            lambda times: perceptron(
                (times * seen, *judging, 1), config.activation, generators, squeeze=True, before=self.waves
            ),
            config.stabilisers,
            (torch.zeros(members, size),),
            linear=partial(Members, generators=generators),
            members=members,
        )
        if config.stabilisers.virtual_batch:
            give_reference(self.discriminator, self.draws.real(config.stabilisers.virtual_batch))
        if config.loss.spectral_norm:
            normalise_members(self.discriminator)
        self.duel = Duel(self.generator, self.discriminator, config, Here(), uniform=self.draws.uniform, members=members)
        self.ema = Ema(self.generator, config.ema.half_life_images, config.ema.ramp)
        self.doctors = [Doctor(config) for _ in seeds]

    def run(self, watch: Callable[[Moment], None] = lambda moment: None) -> Outcome:
        """Trains to the end. `watch` is told of every moment that is measured on the way."""
        config, began = self.config, time.process_time()
        optimizers = (self.duel.opt_g, self.duel.opt_d)
        rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
        every = max(1, config.steps // config.traces)
        moments = []
        for start in range(0, config.steps, CHUNK):
            chunk = self.draws.steps(min(CHUNK, config.steps - start), config.optimizer.d_steps)
            for step, parts in enumerate(chunk, start):
                if step % every == 0:
                    moments.append(self.moment(step))
                    watch(moments[-1])
                self._step(parts, step, dict(zip(optimizers, rates, strict=True)))
        moments.append(self.moment(config.steps))
        watch(moments[-1])
        samples = self.samples(config.samples)
        measured = [measure(x, self.target) for x in samples]
        return Outcome(
            config,
            self.seeds,
            {name: np.array([m[name] for m in measured]) for name in measured[0]},
            samples,
            {"step": np.array([m.step for m in moments])}
            | {name: np.stack([m.scalars[name] for m in moments]) for name in moments[0].scalars},
            time.process_time() - began,
            tuple(tuple((m.step, f) for m in moments if (f := m.findings[i]) is not None) for i in range(len(self.seeds))),
        )

    def _step(self, parts: list[tuple[Tensor, Tensor]], step: int, rates: dict[torch.optim.Optimizer, float]) -> None:
        """One step of every generator, and `d_steps` of every discriminator."""
        config, plan = self.config, self.config.optimizer
        seen, total = step * config.batch, config.steps * config.batch
        factor = rate_factor(seen, total, plan.warmup_images, plan.decay_from, plan.final)
        for optimizer, rate in rates.items():
            optimizer.param_groups[0]["lr"] = rate * factor
        for waves in self.waves:
            waves.open((step / config.steps - WAVES_FROM) / (WAVES_BY - WAVES_FROM))
        penalise = (step + 1) % config.loss.penalty_every == 0
        *early, (real, z) = parts
        for pictures, noise in early:
            with torch.no_grad():
                fake = self.generator(noise)
            self.duel.teach(pictures, fake, penalise=penalise)
        self.duel.step(real, z, penalise=penalise)
        self.ema.update(self.generator, config.batch, seen + config.batch)

    @torch.no_grad()
    def samples(self, count: int) -> np.ndarray:
        """Points of every averaged generator (seeds, count, D), from latents of their own."""
        draws = Draws(self.config, self.target, [seed_of(seed, "samples", 0) for seed in self.seeds])
        made: Tensor = self.ema.network(draws.latents(count))
        return made.reshape(len(self.seeds), count, -1).numpy()

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """What each discriminator says of points (seeds, N, D), N a multiple of `stabilisers.pack`: (seeds, N / pack)."""
        return self._judged(x)

    def _judged(self, x: Tensor) -> Tensor:
        """`logits`, of as many points at a time as in training: a discriminator that looks at batches knows no others."""
        batch, count = self.config.batch, x.shape[1]
        parts = [self.discriminator(x[:, i : i + batch].flatten(0, 1)) for i in range(0, count, batch)]
        return torch.cat([part.reshape(len(self.seeds), -1) for part in parts], dim=1)

    @torch.no_grad()
    def moment(self, step: int) -> Moment:
        """How every seed stands. Draws nothing from the streams of training."""
        config, members = self.config, len(self.seeds)
        count = ON_THE_WAY - ON_THE_WAY % config.stabilisers.pack
        draws = Draws(config, self.target, [seed_of(seed, "watch", step) for seed in self.seeds])
        real, fake = (t.reshape(members, count, -1) for t in (draws.real(count), self.generator(draws.latents(count))))
        of_real, of_fake = self.logits(real), self.logits(fake)
        shown = self.samples(count)
        measured = [measure(x, self.target, quick=True) for x in shown]
        scalars = {name: np.array([m[name] for m in measured]) for name in measured[0]}
        for name, loss in (("loss_d", self.duel.loss.discriminator), ("loss_g", self.duel.loss.generator)):
            scalars[name] = np.array([float(loss(r, f)) for r, f in zip(of_real, of_fake, strict=True)])
        scalars |= {"mean": fake.mean(dim=1)[:, 0].numpy(), "sd": fake.std(dim=1)[:, 0].numpy()}
        scalars["slope"] = self._slopes(fake)
        return Moment(step, shown, scalars, self._examine(scalars))

    def _examine(self, scalars: dict[str, np.ndarray]) -> tuple[Finding | None, ...]:
        """What the doctors have to tell, by each seed's losses, gradients and last batch. Before the first step: nothing."""
        batch, members = self.duel.shown, len(self.seeds)
        if batch is None:
            return (None,) * members
        norms = [member_norms(network, members).tolist() for network in (self.generator, self.discriminator)]
        told = []
        for i, doctor in enumerate(self.doctors):
            line = {f"loss/{name[-1]}": float(scalars[name][i]) for name in ("loss_d", "loss_g")}
            line |= {f"doctor/{name}": value for name, value in signals(batch.member(i, members)).items()}
            told.append(doctor.examine(line | {"gradients/generator": norms[0][i], "gradients/discriminator": norms[1][i]}))
        return tuple(told)

    def _slopes(self, fake: Tensor) -> np.ndarray:
        """How steeply each discriminator rises along the first axis, a mean over generated points (seeds, N, D): (seeds,)."""
        with torch.enable_grad():
            x = fake.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._judged(x).sum(), x)
        slopes: np.ndarray = gradient[..., 0].mean(dim=1).numpy()
        return slopes


def run(config: LabConfig, seeds: Sequence[int], watch: Callable[[Moment], None] = lambda moment: None) -> Outcome:
    """Trains one experiment with each of the seeds, all side by side."""
    return Experiment(config, seeds).run(watch)
