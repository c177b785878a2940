"""Studies in one dimension: six experiments of an introductory text, and the transient instability of another.

The texts' code is not at hand. Theirs is a normal distribution of mean 4 and σ 0.5, a generator of four hidden layers and a
discriminator of twice as many; width, batch and rates are ours. No weights are averaged, nothing decays: as then.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from training.lab import figures
from training.lab.config import LabConfig, parse
from training.lab.experiment import Outcome
from training.lab.study import Study, derived

NORMAL = parse(
    [
        "target.kind=mixture", "z_dim=1", "hidden=16", "layers=4", "d_layers=8", "batch=64", "steps=1200", "samples=4000",
        "activation=relu",
    ]
)  # fmt: skip
SGD = "optimizer={algorithm='sgd', learning_rate=0.03, final=1.0}"
DISCRIMINATION = "stabilisers.minibatch=discrimination"
PENALTY = "loss={adversarial='non-saturating', r1=0.1, r2=0, penalty_every=1}"
RELATIVISTIC = "loss={adversarial='relativistic', r1=0.1, r2=0.1, penalty_every=1}"
TWO = ("target.means=[-2, 2]", "target.sigmas=[0.5, 0.7]")


def with_dots(*measures: str, logarithmic: tuple[str, ...] = ()) -> Callable[[str, figures.Results], Figure]:
    """A drawing of these measures, a dot a seed."""

    def draw(title: str, results: figures.Results) -> Figure:
        columns = {label: derived(outcome) for label, outcome in results.items()}
        return figures.dots(title, {m: {label: c[m].tolist() for label, c in columns.items()} for m in measures}, logarithmic)

    return draw


def sigmas() -> dict[str, LabConfig]:
    """The sweep of σ, with the text's recipe and with a penalty."""
    made: dict[str, LabConfig] = {}
    for sigma in (0.55, 1, 2, 3):
        wide = NORMAL.but(f"target.sigmas=[{sigma}]")
        made |= {f"σ {sigma}": wide, f"σ {sigma}, R1": wide.but(PENALTY)}
    return made


def depths() -> dict[str, LabConfig]:
    """Hidden layers of the generator, the discriminator having twice as many; then as many, and half."""
    made: dict[str, LabConfig] = {}
    for depth in (1, 2, 4, 6):
        deep = NORMAL.but(f"layers={depth}", f"d_layers={2 * depth}")
        made |= {f"G {depth}, D {2 * depth}": deep, f"G {depth}, D {2 * depth}, minibatch": deep.but(DISCRIMINATION)}
    return made | {"G 4, D 4": NORMAL.but("d_layers=4"), "G 4, D 2": NORMAL.but("d_layers=2")}


def turning(outcome: Outcome) -> dict[str, np.ndarray]:
    """Whether generator and discriminator circle each other: correlations over a run's moments, an entry a seed.

    `pull`: of the discriminator's slope with where the generator's mean goes next (+1: it follows). `push`: of how far the
    mean is off with where the slope goes next (-1: the discriminator turns against it). `together`: of the two at the same
    moment (0: a quarter of a turn apart, as in a circle).
    """
    off = outcome.trace["mean"] - np.mean(outcome.config.target.means)
    slope = outcome.trace["slope"]
    return {
        "pull": correlation(slope[:-1], np.diff(off, axis=0)),
        "push": correlation(off[:-1], np.diff(slope, axis=0)),
        "together": correlation(off, slope),
        "loss_and_fit": correlation(outcome.trace["loss_g"], outcome.trace["w1"]),
        "worst_w1": outcome.trace["w1"][len(off) // 2 :].max(axis=0),
    }


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's, of each column of (moments, seeds): (seeds,)."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    found: np.ndarray = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return found


def circling(title: str, results: figures.Results) -> Figure:
    """The way of one seed under each variant."""
    return figures.traces(title, results, ("mean", "slope", "w1", "loss_d", "loss_g"))


ZERO_SUM = NORMAL.but("layers=3", "d_layers=3", "hidden=32", "steps=2400", "traces=240", "loss.adversarial=minimax")
FIT = ("w1", "failed", "sd_ratio")

STUDIES = (
    Study(
        "optimizer",
        "Which optimizer learns a normal distribution?",
        {
            "SGD 0.01": NORMAL.but(SGD, "optimizer.learning_rate=0.01"),
            "SGD 0.03": NORMAL.but(SGD),
            "SGD 0.01, momentum 0.9": NORMAL.but(SGD, "optimizer.learning_rate=0.01", "optimizer.momentum=0.9"),
            "RMSProp 0.001": NORMAL.but("optimizer.algorithm=rmsprop"),
            "Adam 0.001": NORMAL,
            "Adam 0.003": NORMAL.but("optimizer.learning_rate=0.003"),
        },
        FIT,
        figures.densities,
    ),
    Study(
        "minibatch",
        "What does it do to let the discriminator see a whole batch?",
        {
            "neither": NORMAL,
            "discrimination": NORMAL.but(DISCRIMINATION),
            "deviation": NORMAL.but("stabilisers.minibatch=deviation"),
        },
        (*FIT, "loss_d", "loss_g"),
        with_dots("w1", "sd_ratio", "loss_d", "loss_g", logarithmic=("w1",)),
    ),
    Study(
        "seeds",
        "How much does the random seed decide?",
        {
            "SGD": NORMAL.but(SGD),
            "Adam": NORMAL,
            "Adam, minibatch": NORMAL.but(DISCRIMINATION),
            "Adam, R1": NORMAL.but(PENALTY),
        },
        FIT,
        with_dots("w1", "sd_ratio", logarithmic=("w1",)),
        seeds=24,
        at_once=24,
    ),
    Study(
        "layers",
        "How many hidden layers?",
        depths(),
        (*FIT, "loss_d", "loss_g"),
        with_dots("w1", "loss_d", "loss_g", logarithmic=("w1",)),
        seeds=8,
    ),
    Study(
        "bimodal",
        "Can it learn two modes (means -2 and 2, σ 0.5 and 0.7)?",
        {
            "SGD": NORMAL.but(*TWO, SGD),
            "SGD, minibatch": NORMAL.but(*TWO, SGD, DISCRIMINATION),
            "Adam": NORMAL.but(*TWO),
            "Adam, minibatch": NORMAL.but(*TWO, DISCRIMINATION),
            "Adam, R1": NORMAL.but(*TWO, PENALTY),
            "Adam, relativistic, R1 + R2": NORMAL.but(*TWO, RELATIVISTIC),
            "the same, width 64, average": NORMAL.but(
                *TWO, RELATIVISTIC, "hidden=64", "ema.half_life_images=6400", "optimizer.final=0.05"
            ),
        },
        (*FIT, "modes", "kl", "quality"),
        figures.densities,
        seeds=8,
    ),
    Study(
        "sigma",
        "How wide may a normal distribution be?",
        sigmas(),
        ("w1", "relative_w1", "failed", "sd_ratio"),
        figures.densities,
        seeds=8,
    ),
    Study(
        "instability",
        "Why is a zero-sum game transiently unstable?",
        {
            "zero-sum": ZERO_SUM,
            "zero-sum, a quarter of the rate": ZERO_SUM.but("optimizer.learning_rate=2.5e-4"),
            "non-saturating": ZERO_SUM.but("loss.adversarial=non-saturating"),
            "zero-sum, R1": ZERO_SUM.but("loss={adversarial='minimax', r1=0.1, r2=0, penalty_every=1}"),
        },
        ("w1", "worst_w1", "swing", "pull", "push", "together", "loss_and_fit"),
        circling,
        seeds=8,
        also=turning,
    ),
)
