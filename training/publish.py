"""From a run to a zoo entry: the averaged generator, its metrics, a sample sheet and a model card."""

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from models.checkpoint import Checkpoint, pack_weights, save_checkpoint
from models.families import family_named
from models.manifest import Data, Manifest, Output, Training, Weights
from training.card import write_card
from training.config import ConfigError, to_json
from training.data import LabelledImages, TrainingData, load
from training.evaluate import evaluate
from training.loop import hparams_for
from training.metrics.progress import Progress
from training.pictures import draw_sheet
from training.run_dir import RunDir, weights_of

NOT_PART_OF_THE_RECIPE = {
    "runs",
    "start",
    "device",
    "snapshots",
}  # paths, or nothing that decides the weights


def publish(run: RunDir, zoo: Path, cache: Path, progress: Progress, *, quick: bool = False) -> Path:
    """Measures a run's averaged generator and puts it into the zoo as the next version of the run's name.

    A service that watches the zoo serves it a moment later. Raises `ConfigError` for a run without a state, `DataError`.
    """
    config = run.config()
    weights = weights_of(run, "ema")
    data = load(config.data, "train")
    packed, description = pack_weights(weights)
    checkpoint = _checkpoint(run, data, weights, description, zoo)
    metrics = evaluate(checkpoint, config.data, quick=quick, progress=progress, cache=cache)
    manifest = checkpoint.manifest.model_copy(update={"metrics": metrics, "created": datetime.now(UTC)})
    sheet = draw_sheet(checkpoint.generator, checkpoint.latent, config.snapshots.sheet_columns, config.snapshots.sheet_rows)
    return save_checkpoint(zoo, manifest, packed, sheet, write_card(manifest, config, data.skipped))


def _checkpoint(
    run: RunDir, data: TrainingData, weights: Mapping[str, torch.Tensor], description: Weights, zoo: Path
) -> Checkpoint:
    """The run's averaged generator with a manifest that only lacks its metrics."""
    config = run.config()
    about = run.about()
    family = family_named(config.family)
    hparams = hparams_for(config, data)
    generator = family.generator(hparams)
    generator.load_state_dict(dict(weights))
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ConfigError(f"{run.path}: the averaged generator holds NaN or infinity; there is nothing to publish")
    manifest = Manifest(
        name=config.name,
        version=next_version(zoo, config.name),
        family=family.name,
        task=family.task,
        hparams=hparams.model_dump(mode="json"),
        output=Output(channels=hparams.channels, height=hparams.resolution, width=hparams.resolution),
        labels=data.label_names if isinstance(data, LabelledImages) and family.conditional else (),
        weights=description,
        created=datetime.now(UTC),
        licence=config.licence,
        data=Data(
            name=config.data.name,
            source=config.data.source,
            licence=config.data.licence,
            items=len(data),
            sha256=data.sha256(),
        ),
        training=Training(
            config={k: v for k, v in to_json(config).items() if k not in NOT_PART_OF_THE_RECIPE},
            amendments=tuple(run.amendments()),
            start=without_paths(run.start()),
            images_seen=int(about["images_seen"]),
            seconds=float(about["seconds"]),
            hardware=about["hardware"],
            torch=torch.__version__,
            python=platform.python_version(),
            commit=commit(),
        ),
    )
    return Checkpoint(manifest, hparams, generator.eval().requires_grad_(False))


def without_paths(start: dict[str, Any] | None) -> dict[str, Any] | None:
    """The record of the run that another started from, and of the one before that, without where they lie."""
    if start is None:
        return None
    config = {k: v for k, v in start["config"].items() if k not in NOT_PART_OF_THE_RECIPE}
    return {**start, "config": config, "start": without_paths(start["start"])}


def next_version(zoo: Path, name: str) -> int:
    """One more than the newest published version."""
    taken = [int(entry.name) for entry in (zoo / name).glob("*") if entry.name.isdecimal()]
    return max(taken, default=0) + 1


def commit() -> str | None:
    """The git commit of this code, with `+` behind it where files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
