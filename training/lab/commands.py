"""`python -m training lab run | study`, and `python -m training film`."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from training.config import ConfigError

LOOK_AGAIN_S = 2.0  # between two looks at a run that goes on
SHOWN = ("modes", "quality", "kl", "w1", "energy")


def add_lab(verbs: Any) -> None:
    """Adds the verb `lab` to the command line."""
    lab = verbs.add_parser("lab", help="experiments on distributions that are known exactly").add_subparsers(required=True)
    run = lab.add_parser("run", help="one experiment, with its numbers for each seed")
    run.add_argument(
        "overrides", nargs="*", metavar="key=value", help="e.g. target.kind=ring loss.r1=0.1 optimizer.algorithm=sgd"
    )
    run.add_argument("--seeds", type=int, default=1, help="how many seeds, side by side (default: %(default)s)")
    run.add_argument("--film", type=Path, help="where to write a film of the first seed: a .gif, .webp or .png")
    run.add_argument("--live", action="store_true", help="show the film while it is made, in this terminal")
    run.set_defaults(verb=_run)

    study = lab.add_parser("study", help="a question put to several variants over several seeds: a table and a figure")
    study.add_argument("names", nargs="+", metavar="NAME", help="`all`, or some of those that a wrong name is answered with")
    study.add_argument(
        "--out", type=Path, default=Path("runs/lab"), help="folder for tables and figures (default: %(default)s)"
    )
    study.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: %(default)s, the cores here)")
    study.add_argument("--share", type=float, default=1.0, help="of each run's steps: a quick look that proves nothing")
    study.set_defaults(verb=_study)


def add_film(verbs: Any) -> None:
    """Adds the verb `film` to the command line."""
    film = verbs.add_parser("film", help="the film of a run: samples, logits and losses, frame by frame")
    film.add_argument("run", type=Path, help="the run's folder, e.g. runs/fashion")
    film.add_argument("--out", type=Path, help="a .gif, .webp or .png (default: film.gif in the run's folder)")
    film.add_argument("--live", action="store_true", help="show it in this terminal, and go on while the run does")
    film.set_defaults(verb=_film)


def _run(options: argparse.Namespace) -> int:
    from training.film import Live, save_film  # noqa: PLC0415
    from training.lab.config import parse  # noqa: PLC0415
    from training.lab.experiment import Experiment, Moment  # noqa: PLC0415
    from training.lab.film import Camera  # noqa: PLC0415

    if options.seeds < 1:
        raise ConfigError("--seeds must be 1 or more")
    experiment = Experiment(parse(options.overrides), range(options.seeds))
    camera, frames = Camera(experiment), []
    live = Live() if options.live else None

    def watch(moment: Moment) -> None:
        if options.film or live:
            frames.append(camera.take(moment))
        if live:
            live(frames[-1])
        for seed, finding in enumerate(moment.findings):
            if finding is not None:
                logging.info("seed %d, step %d: %s", seed, moment.step, finding.text)

    outcome = experiment.run(watch)
    if options.film:
        save_film(frames, options.film)
    for name in SHOWN:
        if name in outcome.final:
            values = outcome.final[name]
            each = " ".join(f"{value:.4g}" for value in values)
            sys.stdout.write(f"{name:8} {np.mean(values):.4g} ± {np.std(values):.2g}   {each}\n")
    sys.stdout.write(f"{outcome.cpu_seconds:.1f} s of one core\n")
    return 0


def _study(options: argparse.Namespace) -> int:
    from training.lab.studies import chosen  # noqa: PLC0415
    from training.lab.study import run_studies  # noqa: PLC0415

    run_studies(chosen(options.names), options.out, options.workers, share=options.share)
    logging.info("tables and figures are in %s", options.out)
    return 0


def _film(options: argparse.Namespace) -> int:
    from training.film import Live, save_film  # noqa: PLC0415
    from training.run_dir import RunDir  # noqa: PLC0415
    from training.run_film import film_of  # noqa: PLC0415

    run = RunDir(options.run)
    if not options.live:
        out = options.out or run.path / "film.gif"
        save_film(list(film_of(run)), out)
        logging.info("wrote %s", out)
        return 0
    follow(run, film_of, Live())
    return 0


def follow(run: Any, film_of: Callable[..., Any], show: Callable[[Any], None]) -> None:
    """Shows each frame of a run, then those that come, until the run has seen all its pictures."""
    since, total = -1, run.config().total_images
    while since < total:
        for image in film_of(run, since):
            show(image)
        since = max(int(path.stem) for path in run.samples.glob("*.png"))
        if since < total:
            time.sleep(LOOK_AGAIN_S)
