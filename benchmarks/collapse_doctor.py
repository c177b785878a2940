"""`python -m benchmarks.collapse_doctor`: does the doctor find what is broken, and leave alone what is not?

Runs that were broken on purpose and runs that are healthy, on distributions of the laboratory and on tiny pictures whose right
answer is known. The doctor's thresholds were chosen on the first table's runs; the second table's are others: other targets,
other seeds, other ways to break. What became of each run is measured with what the doctor does not see.

Writes `runs/collapse-doctor.md`.
"""

import argparse
import gzip
import logging
import os
import struct
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.collapse_cases import CHOSEN_ON, TESTED_ON, Case
from training.config import apply_override, parse_config
from training.journal import DivergedError
from training.lab.config import parse
from training.lab.experiment import Experiment
from training.loop import train
from training.metrics.draw import draw
from training.publish import average_of
from training.run_dir import RunDir

LAB = ("z_dim=2", "hidden=32", "layers=3", "batch=128", "steps=1500", "samples=2000", "traces=50")
SIDE, PLACES = 8, 4
PICTURES = ("total_images=32000", "batch=32", "device.threads=1", "device.precision=float32", "device.accelerator=cpu")


@dataclass(frozen=True)
class Verdict:
    """What the doctor said first, if anything, and what became of the run."""

    finding: str | None
    step: int | None
    steps: int
    truth: str
    text: str = ""


def examine(case: Case) -> Verdict:
    """Runs a case to its end, or to where it can't go on."""
    torch.set_num_threads(1)
    return _pictures(case) if case.family else _points(case)


def _points(case: Case) -> Verdict:
    config = parse([*LAB, *case.switches])
    experiment = Experiment(config, [case.seed])
    if case.deaf:
        first = experiment.generator.layers[0].weight
        first.requires_grad_(False).zero_()
    outcome = experiment.run()
    final = {name: float(values[0]) for name, values in outcome.final.items()}
    truth = f"{final['modes']:.0f} of {experiment.target.modes} modes, energy {final['energy']:.2g}"
    for step, finding in outcome.findings[0]:
        return Verdict(finding.name, step, config.steps, truth, finding.text)
    return Verdict(None, None, config.steps, truth)


def _pictures(case: Case) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        raw = {
            "name": "case", "family": case.family, "runs": folder, "seed": case.seed,
            "data": {"name": "squares", "format": "idx", "path": folder, "source": "drawn here", "licence": "CC0-1.0",
                     "labels": [f"place {i}" for i in range(PLACES)]},
        }  # fmt: skip
        for switch in (*PICTURES, *case.switches):
            apply_override(raw, switch)
        config = parse_config(raw, case.name)
        write_squares(Path(folder), flat=case.flat)
        stopped = ""
        try:
            train(config, lambda progress: None)
        except DivergedError:
            stopped = "ended in NaN"
        run = RunDir(Path(folder) / "case")
        truth = stopped or places_drawn(run)
        for line in run.findings():
            return Verdict(line["finding"], line["step"], config.total_images // config.batch, truth, line["text"])
        return Verdict(None, None, config.total_images // config.batch, truth)


def templates() -> torch.Tensor:
    """A bright square in each of four places, uint8 (4, SIDE, SIDE)."""
    pictures = torch.full((PLACES, SIDE, SIDE), 20, dtype=torch.uint8)
    for place, picture in enumerate(pictures):
        y, x = divmod(place, 2)
        picture[4 * y : 4 * y + 3, 4 * x : 4 * x + 3] = 230
    return pictures


def write_squares(folder: Path, *, flat: bool, items: int = 2000) -> None:
    """The data set of these, in noise, as IDX. `flat`: one picture, over and over."""
    for seed, split in enumerate(["train", "t10k"]):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(items) % PLACES
        noise = torch.randint(-20, 21, (items, SIDE, SIDE), generator=generator)
        images = (templates()[labels] + noise).clamp(0, 255).to(torch.uint8)
        if flat:
            images = images[:1].expand_as(images)
        of_images, of_labels = struct.pack(">IIII", 2051, items, SIDE, SIDE), struct.pack(">II", 2049, items)
        for name, head, data in (("images-idx3", of_images, images), ("labels-idx1", of_labels, labels.to(torch.uint8))):
            with gzip.open(folder / f"{split}-{name}-ubyte.gz", "wb", compresslevel=1) as f:
                f.write(head + data.contiguous().numpy().tobytes())


def places_drawn(run: RunDir, count: int = 400) -> str:
    """How many of the four squares a run draws, and how far its pictures are from the nearest, in 8-bit steps."""
    checkpoint = average_of(run, Path("none")).checkpoint
    labels = [i % PLACES for i in range(count)] if checkpoint.manifest.labels else None
    images = torch.cat(list(draw(checkpoint, range(count), labels))).squeeze(1).float()
    away = torch.cdist(images.flatten(1), templates().flatten(1).float()) / SIDE
    near, which = away.min(dim=1)
    good = torch.bincount(which[near < 40], minlength=PLACES)
    return f"{int((good > count // 40).sum())} of {PLACES} places, {near.mean():.0f} steps off"


def table(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> str:
    """What was found, when, and what became of each run, as Markdown."""
    rows = ["| run | found | after steps | in the end |", "|---|---|---|---|"]
    for case, verdict in zip(cases, verdicts, strict=True):
        found = verdict.finding or ("**missed**" if case.broken else "nothing")
        if verdict.finding and not case.broken:
            found = f"**false alarm**: {found}"
        when = "" if verdict.step is None else f"{verdict.step:,} of {verdict.steps:,}"
        rows.append(f"| {case.name} | {found} | {when} | {verdict.truth} |")
    return "\n".join(rows)


def told(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> str:
    """Both tables of one set of runs, with their totals."""
    parts = []
    for broken, say in ((True, "broken runs, of which {} were found"), (False, "healthy runs, with {} false alarms")):
        pairs = [(case, verdict) for case, verdict in zip(cases, verdicts, strict=True) if case.broken == broken]
        found = sum(verdict.finding is not None for _, verdict in pairs)
        parts.append(f"{len(pairs)} {say.format(found)}:\n\n{table(*zip(*pairs, strict=True))}")
    return "\n\n".join(parts)


def main() -> None:
    """Runs every case, prints the tables, and writes them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collapse_doctor", description=__doc__)
    parser.add_argument("only", nargs="*", help="parts of names of runs (default: all)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: %(default)s, the cores here)")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    texts = []
    began = time.monotonic()
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for title, every in (("Chosen on", CHOSEN_ON), ("Tested on", TESTED_ON)):
            cases = [case for case in every if not options.only or any(part in case.name for part in options.only)]
            verdicts = list(pool.map(examine, cases))
            for case, verdict in zip(cases, verdicts, strict=True):
                if verdict.text:
                    print(f"{case.name}: {verdict.text}.\n")
            texts.append(f"### {title}\n\n{told(cases, verdicts)}\n" if cases else "")
    print("\n".join(texts), f"\n{time.monotonic() - began:.0f} s")
    Path("runs").mkdir(exist_ok=True)
    Path("runs/collapse-doctor.md").write_text("\n".join(texts))


if __name__ == "__main__":
    main()
