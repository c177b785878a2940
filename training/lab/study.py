"""A study: one question, asked of several variants over several seeds, and answered by a table and a figure."""

import csv
import io
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from training.lab import figures
from training.lab.config import LabConfig
from training.lab.distributions import Mixture, make_target
from training.lab.experiment import Outcome, run
from training.run_dir import replace_file

log = logging.getLogger(__name__)
FAR = 0.5  # standard deviations: a run on a line that ends farther away than this has failed
LAST = 4  # losses at the end are means over this part, a quarter, of a run


@dataclass(frozen=True)
class Study:
    """`columns` are those of its table; `also` works out more of them than `derived` does."""

    name: str
    question: str
    variants: Mapping[str, LabConfig]
    columns: tuple[str, ...]
    draw: Callable[[str, figures.Results], Figure]
    seeds: int = 12
    at_once: int = 12  # seeds in one process
    also: Callable[[Outcome], dict[str, np.ndarray]] = lambda outcome: {}


def derived(outcome: Outcome) -> dict[str, np.ndarray]:
    """Every measure of a run, an entry a seed: those of its last points, and of its way there."""
    target, trace = make_target(outcome.config.target), outcome.trace
    quarter = slice(-max(1, len(trace["step"]) // LAST), None)
    columns = dict(outcome.final)
    columns |= {name: trace[name][quarter].mean(axis=0) for name in ("loss_d", "loss_g")}
    columns["swing"] = trace["mean"][quarter].std(axis=0)
    if isinstance(target, Mixture):
        true_sd = float(
            np.sqrt((target.sigmas.numpy() ** 2 + target.means.numpy() ** 2).mean() - target.means.numpy().mean() ** 2)
        )
        columns["sd_ratio"] = outcome.samples.std(axis=1)[:, 0] / true_sd
        columns["relative_w1"] = columns["w1"] / true_sd
        columns["failed"] = (~(columns["relative_w1"] <= FAR)).astype(float)  # NaN has failed, too
    return columns


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Outcomes of one config with different seeds as one."""
    ordered = sorted(parts, key=lambda part: part.seeds)
    names = ordered[0].trace.keys() - {"step"}
    return replace(
        ordered[0],
        seeds=tuple(seed for part in ordered for seed in part.seeds),
        final={name: np.concatenate([part.final[name] for part in ordered]) for name in ordered[0].final},
        samples=np.concatenate([part.samples for part in ordered]),
        trace={"step": ordered[0].trace["step"]}
        | {name: np.concatenate([part.trace[name] for part in ordered], axis=1) for name in names},
        cpu_seconds=sum(part.cpu_seconds for part in ordered),
        findings=tuple(of_seed for part in ordered for of_seed in part.findings),
    )


def run_studies(studies: Iterable[Study], out: Path, workers: int, *, share: float = 1.0) -> None:
    """Runs studies over `workers` processes, and writes the table and the figure of each into `out` as soon as it is done.

    `share` of each run's steps is done: for a look that is quicker, and proves nothing.
    """
    out.mkdir(parents=True, exist_ok=True)
    began, left = time.monotonic(), {study.name: study for study in studies}
    done: dict[str, dict[str, list[Outcome]]] = {name: {label: [] for label in study.variants} for name, study in left.items()}
    tasks = [
        (study.name, label, _shortened(config, share), tuple(range(study.seeds))[start : start + study.at_once])
        for study in left.values()
        for label, config in study.variants.items()
        for start in range(0, study.seeds, study.at_once)
    ]
    tasks.sort(key=lambda task: -_cost(task[2]) * len(task[3]))  # long ones first: no core is idle at the end
    # fresh processes: one that was forked from a process with threads may wait for them for ever
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_alone) as pool:
        futures: dict[Future[Outcome], tuple[str, str]] = {
            pool.submit(run, config, seeds): (name, label) for name, label, config, seeds in tasks
        }
        for count, future in enumerate(as_completed(futures), 1):
            name, label = futures[future]
            done[name][label].append(future.result())
            log.info("%4.0f s  %d of %d  %s: %s", time.monotonic() - began, count, len(tasks), name, label)
            study = left[name]
            if sum(len(part.seeds) for parts in done[name].values() for part in parts) == study.seeds * len(study.variants):
                write(study, {label: joined(parts) for label, parts in done.pop(name).items()}, out)


def _alone() -> None:
    """One thread a process: small matrices gain nothing from more."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _cost(config: LabConfig) -> float:
    inner = config.hidden**2 * (config.layers + 2 * (config.d_layers or config.layers)) * config.batch
    return config.steps * config.optimizer.d_steps * (1 + config.stabilisers.unrolled_steps) * (2e6 + inner)


def _shortened(config: LabConfig, share: float) -> LabConfig:
    return config.model_copy(update={"steps": max(1, round(config.steps * share))})


def write(study: Study, results: figures.Results, out: Path) -> None:
    """The table (CSV with a line a seed, Markdown with mean ± standard deviation) and the figure of a study."""
    measured = {label: derived(outcome) | study.also(outcome) for label, outcome in results.items()}
    lines = io.StringIO()
    names = list(next(iter(measured.values())))
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["variant", "seed", *names])
    for label, columns in measured.items():
        for i, seed in enumerate(results[label].seeds):
            table.writerow([label, seed, *(f"{columns[name][i]:.6g}" for name in names)])
    replace_file(out / f"{study.name}.csv", lines.getvalue().encode())
    replace_file(out / f"{study.name}.md", markdown(study, results, measured).encode())
    replace_file(out / f"{study.name}.png", figures.png(study.draw(study.question, results)))


def markdown(study: Study, results: figures.Results, measured: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """A study's table: mean ± standard deviation over seeds."""
    rows = [f"| variant | {' | '.join(study.columns)} | steps | CPU s a seed |", "|---" * (len(study.columns) + 3) + "|"]
    for label, columns in measured.items():
        outcome = results[label]
        cells = [told(columns[name]) for name in study.columns]
        rows.append(
            f"| {label} | {' | '.join(cells)} | {outcome.config.steps:,} | {outcome.cpu_seconds / len(outcome.seeds):.1f} |"
        )
    return f"{study.question} {study.seeds} seeds.\n\n" + "\n".join(rows) + "\n"


def told(values: np.ndarray) -> str:
    """Mean ± standard deviation of what is a number, and how many are not."""
    good = values[np.isfinite(values)]
    lost = f" ({len(values) - len(good)} NaN)" if len(good) < len(values) else ""
    return f"{good.mean():.3g} ± {good.std():.2g}{lost}" if len(good) else "NaN"
