"""`python -m benchmarks.equal_time RUN RUN …`: runs on the same data side by side, by what they cost and how near they came.

For comparing ways to train at equal processor time, which unlike the clock means the same beside other work. Each run's
averaged generator is measured as `training evaluate` does. Prints a table, and for runs that took more than a twentieth longer
or shorter than the first how many pictures would have taken as long.

    python -m training run faces-grown
    python -m training run faces-grown name=faces-direct 'growth.images=[]' total_images=194000
    python -m benchmarks.equal_time runs/faces-grown runs/faces-direct
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.manifest import Metric
from models.progress import silent
from training.evaluate import evaluate
from training.metrics.cache import DEFAULT_CACHE
from training.publish import average_of
from training.run_dir import RunDir

METRICS = ("fd", "kd", "density", "coverage")  # of those that there are many; else all are shown
TOLERANCE = 0.05


@dataclass(frozen=True)
class Contender:
    """A run, and what it came to."""

    name: str
    images: int
    cpu_seconds: float
    data_sha256: str
    metrics: dict[str, Metric]


def measured(path: Path, zoo: Path, cache: Path, *, quick: bool) -> Contender:
    """A run's averaged generator, measured on the run's own data. Raises `ConfigError`, `DataError`."""
    run = RunDir(path)
    averaged = average_of(run, zoo)
    checkpoint = averaged.checkpoint
    if checkpoint.from_latents:
        checkpoint = replace(checkpoint, extras={})  # the generator only: no holes to be filled with a discriminator's help
    metrics = evaluate(checkpoint, averaged.config.data, quick=quick, progress=silent, cache=cache)
    return Contender(path.name, run.images_seen(), run.cpu_seconds(), averaged.data.sha256(), metrics)


def table(contenders: list[Contender]) -> str:
    """Value ± spread of each metric, a row a run, and below them the same of real pictures."""
    first = contenders[0]
    shown = [name for name in METRICS if name in first.metrics] or list(first.metrics)
    rows = ["| run | pictures | CPU min | " + " | ".join(shown) + " |", "|---" * (3 + len(shown)) + "|"]
    for c in contenders:
        found = (c.metrics[name] for name in shown)
        cells = " | ".join(f"{m.value:.4g} ± {m.spread or 0:.2g}" for m in found)
        rows.append(f"| {c.name} | {c.images:,} | {c.cpu_seconds / 60:.1f} | {cells} |")
    rows.append("| real pictures | | | " + " | ".join(f"{first.metrics[name].floor or 0:.4g}" for name in shown) + " |")
    return "\n".join(rows)


def advice(contenders: list[Contender]) -> list[str]:
    """How to make the times equal, where they are not."""
    first, *others = contenders
    told = []
    for c in others:
        if abs(c.cpu_seconds - first.cpu_seconds) > TOLERANCE * first.cpu_seconds:
            images = c.images * first.cpu_seconds / c.cpu_seconds
            told.append(f"Not at equal time: {c.name} would have taken as long as {first.name} with total_images={images:.0f}")
    return told


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equal_time", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs on the same data")
    parser.add_argument("--quick", action="store_true", help="few pictures: for trying the command out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    contenders = [measured(path, Path("models/zoo"), DEFAULT_CACHE, quick=options.quick) for path in options.runs]
    if len({c.data_sha256 for c in contenders}) > 1:
        raise SystemExit("these runs learned from different pictures: there is nothing to compare")
    if not all(c.cpu_seconds for c in contenders):
        raise SystemExit("a run was begun before processor time was written down: train it again")
    print(table(contenders))
    print(*advice(contenders), sep="\n")


if __name__ == "__main__":
    main()
