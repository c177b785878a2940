"""`python -m training run | label | publish | evaluate | lab | film`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.checkpoint import load_checkpoint
from models.errors import ModelError
from training.card import metrics_table, rewrite_metrics
from training.config import SHIPPED_CONFIGS, ConfigError, load_config, stored_config
from training.data import DataError, draw_labels, load_labelled
from training.journal import DivergedError
from training.lab.commands import add_film, add_lab
from training.metrics.cache import DEFAULT_CACHE
from training.progress import EvaluationProgress, TrainingProgress
from training.run_dir import RunDir

BESIDE = "another run on the same data, whose numbers are told for comparison; may be given more than once"
CACHE = DEFAULT_CACHE  # classifiers of `evaluate`, which need training once for each data set


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and runs one verb. Returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        status: int = options.verb(options)
        return status
    except (ConfigError, DataError, DivergedError, ModelError, FileExistsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from the last saved state\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Trains GANs and publishes them to the zoo.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    shipped = ", ".join(sorted(path.stem for path in SHIPPED_CONFIGS.glob("*.toml")))
    run = verbs.add_parser("run", help="train from a TOML config; the same command again goes on where a killed run was")
    run.add_argument("config", type=Path, help=f"a TOML file, or the name of a shipped one: {shipped}")
    run.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. total_images=200000 data.path=my.zip loss.r1=1.0")
    run.add_argument("--amend", action="store_true", help="go on with other values than the run was begun with")
    run.set_defaults(verb=_run)

    label = verbs.add_parser("label", help="label a data set's training pictures from a few labels of each class")
    label.add_argument("config", type=Path, help="as for run: its [data] is labelled")
    label.add_argument("overrides", nargs="*", metavar="key=value")
    label.add_argument("--per-class", type=int, required=True, help="labels of each class that are looked at")
    label.add_argument("--seed", type=int, default=0, help="decides which (default: %(default)s)")
    label.add_argument("--out", type=Path, required=True, help="an .npy file, for data.relabel")
    label.set_defaults(verb=_label)

    publish = verbs.add_parser("publish", help="measure a run's generator and put it into the zoo")
    publish.add_argument("run", type=Path, help="the run's folder, e.g. runs/fashion")
    publish.add_argument("--zoo", type=Path, default=_zoo(), help="where models lie (default: %(default)s)")
    publish.add_argument("--quick", action="store_true", help="measure on few pictures; the card says so")
    publish.add_argument("--beside", type=Path, action="append", default=[], metavar="RUN", help=BESIDE)
    publish.set_defaults(verb=_publish)

    evaluate = verbs.add_parser("evaluate", help="measure a published model again, beside what its card says")
    evaluate.add_argument("model", help="name, name@version, or a zoo entry's folder")
    evaluate.add_argument("--zoo", type=Path, default=_zoo(), help="where models lie (default: %(default)s)")
    evaluate.add_argument("--data", type=Path, help="where its data set lies, if not where its config says")
    evaluate.add_argument("--quick", action="store_true", help="measure on few pictures; not comparable with the card")
    evaluate.add_argument("--write", action="store_true", help="put the numbers into the entry's manifest and card")
    evaluate.add_argument("--beside", type=Path, action="append", default=[], metavar="RUN", help=BESIDE)
    evaluate.set_defaults(verb=_evaluate)
    add_film(verbs)
    add_lab(verbs)
    return parser


def _label(options: argparse.Namespace) -> int:
    from training.labelling import label_the_rest  # noqa: PLC0415

    config = load_config(options.config, options.overrides)
    data = load_labelled(config.data.with_all_labels, "train")
    known = draw_labels(data.labels, options.per_class, options.seed)
    with EvaluationProgress() as progress:
        made = label_the_rest(data, known, mirror=config.data.mirror, progress=progress)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.save(options.out, made.labels.numpy())
    np.save(options.out.with_suffix(".known.npy"), known.numpy())
    right = (made.labels == data.labels)[~known].double().mean().item()
    logging.info("%d of %d labels were looked at; of the others, %.2f %% are as they were", known.sum(), len(data), right * 100)
    logging.info("wrote %s\nTrain with it: python -m training run %s data.relabel=%s", options.out, options.config, options.out)
    return 0


def _zoo() -> Path:
    return Path(os.environ.get("GANYMEDE_MODELS_DIR", "models/zoo"))


def _run(options: argparse.Namespace) -> int:
    from training.loop import train  # noqa: PLC0415  imports Fabric, which the other verbs can do without

    config = load_config(options.config, options.overrides)
    with TrainingProgress(config.name) as progress:
        run = train(config, progress.report, stage=progress.stage, amend=options.amend)
    logging.info("done: %s\nLook at %s, then: python -m training publish %s", run.path, run.samples, run.path)
    return 0


def _publish(options: argparse.Namespace) -> int:
    from training.publish import publish  # noqa: PLC0415

    with EvaluationProgress() as progress:
        beside = [RunDir(path) for path in options.beside]
        entry = publish(RunDir(options.run), options.zoo, CACHE, progress, quick=options.quick, beside=beside)
    logging.info("published %s\nA running service that watches %s serves it in a moment.", entry, options.zoo)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from training.evaluate import evaluate  # noqa: PLC0415

    if options.write and options.quick:
        raise ConfigError("--quick measures on few pictures: its numbers are not for a card. Leave it out, or --write")
    entry = find_entry(options.model, options.zoo)
    checkpoint = load_checkpoint(entry)
    recipe = {"name": checkpoint.manifest.name, **checkpoint.manifest.training.config}
    config = stored_config(recipe, "the model's manifest")
    if options.data:
        config = config.model_copy(update={"data": config.data.model_copy(update={"path": options.data})})
    with EvaluationProgress() as progress:
        measured = evaluate(checkpoint, config.data, quick=options.quick, progress=progress, cache=CACHE)
        for path in options.beside:
            from training.publish import measured_beside  # noqa: PLC0415

            measured |= measured_beside(RunDir(path), config, options.zoo, CACHE, progress, quick=options.quick)
    said = checkpoint.manifest.metrics
    sys.stdout.write(f"{metrics_table(measured)}\n\n")
    for name, metric in measured.items():
        if name in said:
            sys.stdout.write(f"{name}: card {said[name].value:.6g}, now {metric.value:.6g}\n")
    if options.write:
        rewrite_metrics(entry, measured)
        sys.stdout.write(f"\nwritten into {entry}\n")
    return 0


def find_entry(model: str, zoo: Path) -> Path:
    """The folder of a zoo entry from its name, name@version or path. Raises `ConfigError`."""
    if (Path(model) / "manifest.json").exists():
        return Path(model)
    name, _, version = model.partition("@")
    versions = sorted(int(entry.name) for entry in (zoo / name).glob("*") if entry.name.isdecimal())
    if version:
        versions = [number for number in versions if str(number) == version]
    if not versions:
        there = ", ".join(sorted(folder.name for folder in zoo.glob("*") if folder.is_dir()))
        raise ConfigError(f"there is no {model} in {zoo}, which has: {there or 'nothing'}")
    return zoo / name / str(versions[-1])


if __name__ == "__main__":
    sys.exit(main())
