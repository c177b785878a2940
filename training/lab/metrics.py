"""How well points imitate a distribution that is known: six measures, each of one run's points."""

import math
from collections.abc import Callable

import numpy as np
import torch

from training.lab.distributions import Mixture, Target

GOOD = 3.0  # standard deviations from a mode within which a point is of high quality
SHARE_OF_A_MODE = 0.001  # of all points must be good ones of a mode for it to count: one of 1,000 would be luck
PAIRED = 2000  # points of which the energy distance looks at all pairs


def modes(x: np.ndarray, target: Target) -> float:
    """How many modes have at least a thousandth of the points (N, D), of high quality."""
    which, away = target.nearest(x)
    counts = np.bincount(which[away <= GOOD], minlength=target.modes)
    return float((counts >= max(1.0, SHARE_OF_A_MODE * len(x))).sum())


def quality(x: np.ndarray, target: Target) -> float:
    """The share of the points (N, D) within three standard deviations of a mode. The target's own: 0.9973 on a line, 0.9889."""
    return float((target.nearest(x)[1] <= GOOD).mean())


def spread(x: np.ndarray, target: Target) -> float:
    """How far good points (N, D) are from their modes, root mean square, over the same of the target's own: 1 is right.

    What quality doesn't tell: a generator that draws only the middles of its modes has a quality of 1, and a spread of 0.
    """
    away, own = (target.nearest(points)[1] for points in (x, target.sample(len(x), torch.Generator().manual_seed(0)).numpy()))
    mine, theirs = (float(np.square(d[d <= GOOD]).mean()) if (d <= GOOD).any() else math.nan for d in (away, own))
    return math.sqrt(mine / theirs) if theirs else math.nan  # real points that are all one have no spread


def kl(x: np.ndarray, target: Target) -> float:
    """KL divergence, in nats, of how often modes are drawn from how often they should be; a point counts for the nearest."""
    share = np.bincount(target.nearest(x)[0], minlength=target.modes) / len(x)
    seen = share[share > 0]
    return float((seen * np.log(seen * target.modes)).sum())


def wasserstein(x: np.ndarray, target: Target) -> float:
    """Wasserstein-1 distance of points (N, 1) from a distribution on a line: the mean distance between equal quantiles."""
    if not isinstance(target, Mixture):
        raise ValueError("the exact Wasserstein distance is of distributions on a line")
    shares = (np.arange(len(x)) + 0.5) / len(x)
    return float(np.abs(np.sort(x[:, 0]) - target.quantiles(shares)).mean())


def energy(x: np.ndarray, target: Target) -> float:
    """Energy distance 2E|X - Y| - E|X - X'| - E|Y - Y'| of points (N, D); without bias, so about 0 for the target's own.

    Székely & Rizzo 2013, https://doi.org/10.1016/j.jspi.2013.03.018.
    """
    mine = torch.from_numpy(x[:PAIRED])
    theirs = target.sample(len(mine), torch.Generator().manual_seed(0))
    pairs = len(mine) * (len(mine) - 1)
    between, inside, outside = (
        torch.cdist(mine, theirs).mean(),
        torch.cdist(mine, mine).sum(),
        torch.cdist(theirs, theirs).sum(),
    )
    return float(2 * between - (inside + outside) / pairs)


METRICS: dict[str, Callable[[np.ndarray, Target], float]] = {
    "modes": modes,
    "quality": quality,
    "spread": spread,
    "kl": kl,
    "w1": wasserstein,
    "energy": energy,
}


def measure(x: np.ndarray, target: Target, *, quick: bool = False) -> dict[str, float]:
    """Every metric that fits a target, of points (N, D); `quick`: but for the one that looks at all pairs.

    Points that are not numbers fail every measure: NaN.
    """
    names = [name for name in METRICS if name != "w1" or isinstance(target, Mixture)]
    names = [name for name in names if name != "energy" or not quick]
    if not np.isfinite(x).all():
        return dict.fromkeys(names, float("nan"))
    return {name: METRICS[name](x, target) for name in names}
