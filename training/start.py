"""Where a run's networks begin that is told to `start` somewhere: in another run, or in a published model."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.checkpoint import MANIFEST_FILE, load_checkpoint
from models.errors import ModelError
from training.config import ConfigError, to_json
from training.recipe import Recipe
from training.run_dir import RunDir, deciding, replace_file, weights_of

LEARNING = {"ema": "generator", "ema_back": "back"}  # an average → the network that it is of: a model has the average alone


def borrow(run: RunDir, source: Path, recipe: Recipe) -> None:
    """Gives a recipe's networks the weights of another run or of a zoo entry, and writes into `run` where they are from.

    Optimizers begin anew, and so does what an entry does not hold. The networks may have more residual blocks than those had:
    a block that starts as the identity changes nothing until it has learned something (Net2Net, Chen et al. 2016,
    https://arxiv.org/abs/1511.05641). Raises `ConfigError` where there is nothing to start from, or networks of another shape.
    """
    weights, origin = _of_entry(source, recipe) if (source / MANIFEST_FILE).exists() else _of_run(source, recipe)
    for name, network in recipe.networks.items():
        try:
            if weights.get(name):  # a guide, say, may be new
                begun = {k: v for k, v in network.state_dict().items() if in_identity(network, k)}
                network.load_state_dict({**begun, **weights[name]})
        except RuntimeError as error:
            raise ConfigError(f"start: the {name} of {source} does not fit this run's: {error}") from None
    replace_file(run.start_file, json.dumps(origin, indent=2).encode())


def _of_run(source: Path, recipe: Recipe) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
    """What each network was in another run when that was last saved, and what to remember of it."""
    other = RunDir(source)
    if not other.state_file.exists():
        raise ConfigError(f"start: {source} holds neither a run nor a model; train one first, or give another start=…")
    about = other.about()
    return {name: weights_of(other, name) for name in recipe.networks}, {
        "name": source.name,
        "images_seen": int(about["images_seen"]),
        "seconds": float(about["seconds"]),
        "state_sha256": hashlib.sha256(other.state_file.read_bytes()).hexdigest(),
        "config": deciding(to_json(other.config())),
        "start": other.start(),
    }


def _of_entry(source: Path, recipe: Recipe) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
    """What a published model holds of each network, and what to remember of it."""
    try:
        checkpoint = load_checkpoint(source.resolve())
    except ModelError as error:
        raise ConfigError(f"start: {error}") from None
    manifest = checkpoint.manifest
    parts = {"generator": checkpoint.generator, **checkpoint.extras}
    weights: dict[str, Mapping[str, Tensor]] = {
        name: parts[part].state_dict() for part, name in recipe.publishes.items() if part in parts
    }
    weights |= {LEARNING[name]: state for name, state in weights.items() if name in LEARNING}
    return weights, {
        "name": f"{manifest.name}@{manifest.version}",
        "images_seen": manifest.training.images_seen,
        "seconds": manifest.training.seconds,
        "state_sha256": manifest.weights.sha256,
        "config": manifest.training.config,
        "start": manifest.training.start,
    }


def in_identity(network: nn.Module, key: str) -> bool:
    """Whether a weight belongs to a block that starts as the identity."""
    *parents, _ = key.split(".")
    paths = [".".join(parents[: i + 1]) for i in range(len(parents))]
    return any(getattr(network.get_submodule(path), "STARTS_AS_IDENTITY", False) for path in paths)
