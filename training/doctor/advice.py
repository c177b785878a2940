"""What the doctor says: what is seen, why it probably is so, and which key of the config to set to which value."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from training.config import LossConfig, OptimizerConfig

Line = Mapping[str, float]
USUAL = {"adam": 1e-3, "rmsprop": 1e-3, "sgd": 0.03}  # learning rates that small networks stand
UNEQUAL = 3.0  # times the other's rate: more is a likely cause
FIRM = 10.0  # γ of R1 that is more likely too much than too little
DEAD = 1e-6  # norm of the generator's gradient below which it learns nothing


class Treated(Protocol):
    """The tables of a config that advice is about."""

    @property
    def loss(self) -> LossConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...


def no_number(names: Sequence[str], config: Treated) -> str:
    """A loss, a signal or a gradient is NaN or infinite."""
    return (
        f"Training has diverged: {', '.join(names[:3])} became NaN or infinite. A step was too long. "
        f"Set {_slower(config)}, {_penalty(config)}"
    )


def one_picture(line: Line, config: Treated) -> str:
    """Real pictures do not differ."""
    return (
        "The real pictures of a batch are all the same picture, so there is nothing to learn. Likely the data were read or cut "
        "wrongly: look at them, and set data.path, data.resolution or data.relabel accordingly"
    )


def no_variety(line: Line, config: Treated) -> str:
    """Generated pictures hardly differ."""
    share = line.get("doctor/variety", 0.0)
    seen = f"Generated pictures are nearly all the same: they differ {share:.1%} as much as real ones"
    ours, theirs = rates(config)
    if line.get("gradients/generator", 1.0) < DEAD:
        why = "No gradient reaches the generator: its units are dead or saturated, and it won't wake up"
    elif ours > UNEQUAL * theirs:
        why = f"The generator outruns the discriminator, whose rate is {ours / theirs:.0f} times lower"
    else:
        why = "The generator has found one picture that pleases (mode collapse), or its latent does not reach the picture"
    rate = _same_rate(config) if ours > UNEQUAL * theirs else _slower(config)
    return f"{seen}. {why}. Set {rate}, {_penalty(config)}, stabilisers.minibatch=deviation"


def running_away(line: Line, config: Treated) -> str:
    """Logits or gradients beyond every measure."""
    values = {name: value for name, value in line.items() if name == "doctor/gap" or name.startswith("gradients/")}
    name = max(values, key=lambda key: abs(values[key]))
    bound = "" if config.loss.adversarial != "wasserstein" else ": nothing bounds the critic enough"
    remedy = "loss.gradient_penalty=10, loss.penalty_every=1" if bound else _penalty(config)
    return f"{name} has run away to {values[name]:.3g}{bound}. Set {remedy}, or {_slower(config)}"


def too_strong(line: Line, config: Treated) -> str:
    """The discriminator is nearly always right, and generated pictures come no nearer."""
    seen = (
        f"The discriminator is right in {line['doctor/told_apart']:.0%} of the cases, and generated pictures come no nearer to "
        f"real ones (distance {line['doctor/distance']:.2f})"
    )
    ours, theirs = rates(config)
    if config.loss.adversarial == "minimax":
        why = "minimax gives the generator no gradient where the discriminator is sure"
        remedy = f"loss.adversarial=non-saturating, {_penalty(config)}"
    elif theirs > UNEQUAL * ours:
        why = f"The discriminator learns {theirs / ours:.3g} times faster"
        remedy = _same_rate(config)
    else:
        why = "It is too strong for this generator"
        remedy = _penalty(config)
    fewer = ", optimizer.d_steps=1" if config.optimizer.d_steps > 1 else ""
    return f"{seen}. {why}. Set {remedy}{fewer}"


def too_weak(line: Line, config: Treated) -> str:
    """The discriminator holds generated pictures for the real ones, though they are not alike."""
    ours, theirs = rates(config)
    return (
        f"The discriminator prefers generated pictures to real ones ({line['doctor/told_apart']:.0%} right), and they are not "
        f"alike (distance {line['doctor/distance']:.2f}): it learns too slowly to follow the generator. "
        f"Set optimizer.d_learning_rate={max(ours, 3 * theirs):.2g} (now {theirs:g})"
    )


def far_off(line: Line, config: Treated) -> str:
    """Generated pictures stay away from real ones, and the discriminator only half sees it."""
    variety = line.get("doctor/variety", 1.0)
    return (
        f"Generated pictures come no nearer to real ones (distance {line['doctor/distance']:.2f}, variety {variety:.2f} of "
        f"theirs): the networks circle each other, part of the data is not drawn, or a network is too small. "
        f"Set {_slower(config)}, {_penalty(config)}; if that does not help, widen hparams"
    )


def rates(config: Treated) -> tuple[float, float]:
    """The learning rates of the generator and of the discriminator."""
    ours = config.optimizer.learning_rate
    return ours, config.optimizer.d_learning_rate or ours


def _slower(config: Treated) -> str:
    """The advice to take a third of the generator's rate, or a usual one."""
    rate = config.optimizer.learning_rate
    return f"optimizer.learning_rate={min(rate / 3, USUAL[config.optimizer.algorithm]):.2g} (now {rate:g})"


def _same_rate(config: Treated) -> str:
    """The advice to give both networks one rate: of the two that nearest to a usual one."""
    ours, theirs = rates(config)
    usual = USUAL[config.optimizer.algorithm]
    if abs(math.log(ours / usual)) <= abs(math.log(theirs / usual)):
        return f"optimizer.d_learning_rate={ours:g} (now {theirs:g})"
    return f"optimizer.learning_rate={theirs:g} (now {ours:g})"


def _penalty(config: Treated) -> str:
    """The advice to raise a gradient penalty, or to lower one that is very high."""
    loss = config.loss
    if loss.gradient_penalty:
        return f"loss.gradient_penalty={3 * loss.gradient_penalty:g} (now {loss.gradient_penalty:g})"
    new = loss.r1 / 10 if loss.r1 > FIRM else max(3 * loss.r1, 0.1)
    return f"loss.r1={new:.2g} (now {loss.r1:g})"
