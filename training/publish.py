"""From a run to a zoo entry: the averaged generator, its metrics, a sample sheet and a model card."""

import copy
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from models.checkpoint import WEIGHTS_FILE, Checkpoint, pack_weights, save_checkpoint
from models.codes import Code
from models.families import family_named
from models.families.infogan import InfoGanHParams, Recogniser
from models.family import HParams
from models.manifest import Data, Manifest, Metric, Output, Training, Weights
from models.progress import Progress
from training import proof
from training.card import write_card
from training.config import ConfigError, TrainConfig, to_json
from training.data import LabelledImages, TrainingData, load
from training.data.locate import portable
from training.device import Hardware
from training.evaluate import evaluate
from training.loop import hparams_for
from training.metrics.codes import described
from training.recipe import Recipe
from training.recipes import RECIPES
from training.run_dir import RunDir, weights_of

GENERATOR = "generator"  # the part of an entry that every family has
NOT_PART_OF_THE_RECIPE = {
    "runs",
    "start",
    "device",
    "snapshots",
}  # paths, or nothing that decides the weights


@dataclass(frozen=True)
class Averaged:
    """What a run has come to: its averaged networks, as an entry without metrics and as weights files."""

    config: TrainConfig
    data: TrainingData
    recipe: Recipe
    checkpoint: Checkpoint
    weights: dict[str, bytes]


def publish(
    run: RunDir, zoo: Path, cache: Path, progress: Progress, *, quick: bool = False, beside: Sequence[RunDir] = ()
) -> Path:
    """Measures a run's averaged generator and puts it into the zoo as the next version of the run's name.

    `beside`: other runs on the same data, whose numbers stand in the card for comparison. A service that watches the zoo serves
    the entry a moment later. Raises `ConfigError` for a run without a state, `DataError`.
    """
    averaged = average_of(run, zoo)
    config, recipe = averaged.config, averaged.recipe
    metrics = evaluate(averaged.checkpoint, config.data, quick=quick, progress=progress, cache=cache)
    for other in beside:
        metrics |= measured_beside(other, config, zoo, cache, progress, quick=quick)
    proved = None
    if averaged.checkpoint.from_latents:
        scale = proof.QUICK if quick else proof.FULL
        proved = proof.prove(averaged.checkpoint, config.data, config.proof, cache, progress, scale)
    update = {"metrics": metrics, "proof": proved and proved.proof, "created": datetime.now(UTC)}
    manifest = averaged.checkpoint.manifest.model_copy(update=update)
    shown = averaged.data if averaged.checkpoint.from_latents else load(config.data, "test")
    sheet, card = recipe.preview(shown, config.snapshots), write_card(manifest, config, averaged.data.skipped)
    files = {file_of(part): raw for part, raw in averaged.weights.items() if part != GENERATOR}
    files |= proved.files if proved else {}
    return save_checkpoint(zoo, manifest, averaged.weights[GENERATOR], sheet, card, files)


def measured_beside(
    other: RunDir, config: TrainConfig, zoo: Path, cache: Path, progress: Progress, *, quick: bool = False
) -> dict[str, Metric]:
    """The metrics of another run on this config's data, called `<metric>_<run>`. Raises `ConfigError`, `DataError`."""
    averaged = average_of(other, zoo)
    about = averaged.checkpoint.manifest.training
    told = f" Of the run `{averaged.config.name}`: {about.images_seen:,} pictures in {about.seconds / 3600:.2f} hours."
    readers = {part: network for part, network in averaged.checkpoint.extras.items() if part != "discriminator"}
    compared = replace(averaged.checkpoint, extras=readers)  # filling holes by search takes longest and tells least of a recipe
    measured = evaluate(compared, config.data, quick=quick, progress=progress, cache=cache)
    suffix = averaged.config.name.replace("-", "_")
    return {f"{k}_{suffix}": m.model_copy(update={"protocol": m.protocol + told}) for k, m in measured.items()}


def average_of(run: RunDir, zoo: Path) -> Averaged:
    """Reads a run's averaged networks. `zoo`: where its next version would go. Raises `ConfigError`, `DataError`."""
    config = run.config()
    data = load(config.data, "train")
    hparams = hparams_for(config, data)
    recipe = RECIPES[config.family](config, family_named(config.family), hparams, Hardware(config.device))
    if not run.about():
        raise ConfigError(f"{run.path} has no saved state yet")
    networks = {part: recipe.networks[name] for part, name in recipe.publishes.items() if name in recipe.networks}
    for part, network in networks.items():  # and nothing else: a run can be published that could not go on with today's code
        network.load_state_dict(weights_of(run, recipe.publishes[part]))
    states = {part: plain_state(network) for part, network in networks.items()}
    for part, state in states.items():
        if not all(torch.isfinite(tensor).all() for tensor in state.values()):
            raise ConfigError(f"{run.path}: the {part} holds NaN or infinity; there is nothing to publish")
    packed = {part: pack_weights(state, file_of(part)) for part, state in states.items()}
    checkpoint = _checkpoint(run, data, hparams, states, {part: described for part, (_, described) in packed.items()}, zoo)
    return Averaged(config, data, recipe, checkpoint, {part: raw for part, (raw, _) in packed.items()})


def plain_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """A network's weights as its family names them: with spectral norm, those that it computes with."""
    plain = copy.deepcopy(network)
    for layer in list(plain.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return plain.state_dict()


def file_of(part: str) -> str:
    """The file that a part of an entry is in."""
    return WEIGHTS_FILE if part == GENERATOR else f"{part}.safetensors"


def _checkpoint(
    run: RunDir,
    data: TrainingData,
    hparams: HParams,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    weights: dict[str, Weights],
    zoo: Path,
) -> Checkpoint:
    """The run's averaged networks with a manifest that only lacks its metrics."""
    config = run.config()
    about = run.about()
    family = family_named(config.family)
    networks = {}
    for part, state in states.items():
        network = (family.generator if part == GENERATOR else family.extras[part])(hparams)
        network.load_state_dict(dict(state))
        networks[part] = network.eval().requires_grad_(False)
    recogniser = networks.get("recogniser")
    codes: tuple[Code, ...] = ()
    if isinstance(recogniser, Recogniser) and isinstance(hparams, InfoGanHParams) and isinstance(data, LabelledImages):
        codes = described(config.info, hparams, recogniser, data)
    manifest = Manifest(
        name=config.name,
        version=next_version(zoo, config.name),
        family=family.name,
        task=family.task,
        hparams=hparams.model_dump(mode="json"),
        output=Output(channels=hparams.channels, height=hparams.resolution, width=hparams.resolution),
        labels=data.label_names if isinstance(data, LabelledImages) and family.conditional else (),
        codes=codes,
        weights=weights.pop(GENERATOR),
        extras=weights,
        created=datetime.now(UTC),
        licence=config.licence,
        data=Data(
            name=config.data.name,
            source=config.data.source,
            licence=config.data.licence,
            items=data.pictures,
            sha256=data.sha256(),
        ),
        training=Training(
            config=as_recipe(config),
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
    return Checkpoint(manifest, hparams, networks.pop(GENERATOR), networks)


def as_recipe(config: TrainConfig) -> dict[str, Any]:
    """A run's config as it helps whoever wants to make the model again, somewhere else."""
    recipe = {k: v for k, v in to_json(config).items() if k not in NOT_PART_OF_THE_RECIPE}
    paths = {k: portable(v) for k, v in recipe["data"].items() if k in ("path", "test_path") and v is not None}
    return recipe | {"data": recipe["data"] | paths | {"also": [portable(path) for path in recipe["data"]["also"]]}}


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
