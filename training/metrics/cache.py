"""Trained classifiers on disk, so that each is trained once and every model is measured with the same one.

A file's name is the hash of everything that decides its weights: data, recipe, seed, protocol. What is found is verified
before it is believed; a damaged or foreign file is trained again and replaced.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from models.checkpoint import sync_folder, write_synced
from models.classifier import PROTOCOL, Classifier, Recipe, predict, recalls, train_classifier
from models.progress import Progress, silent
from training.data import LabelledImages

log = logging.getLogger(__name__)

DEFAULT_CACHE = Path("runs/.cache")


@dataclass(frozen=True)
class Trained:
    """A classifier and how well it reads the real test split, which no choice was ever made on."""

    network: Classifier
    test_accuracy: float
    test_recall: tuple[float, ...]  # of each class
    seconds: float  # that its training took
    weights_sha256: str


def trained_classifier(
    train: LabelledImages,
    test: LabelledImages,
    *,
    recipe: Recipe,
    seed: int,
    mirror: bool,
    cache: Path = DEFAULT_CACHE,
    progress: Progress = silent,
) -> Trained:
    """The classifier for this data from the cache; trained, measured on `test` and kept there if it isn't in it."""
    key: dict[str, Any] = {
        "protocol": PROTOCOL,
        "recipe": json.loads(json.dumps(asdict(recipe))),  # tuples as JSON gives them back
        "seed": seed,
        "mirror": mirror,
        "classes": train.classes,
        "shape": list(train.images.shape[1:]),
        "train_sha256": train.sha256(),
        "test_sha256": test.sha256(),
    }
    at = cache / _digest(key)[:32]

    def blank() -> Classifier:
        return Classifier(recipe.design, side=train.images.shape[-1], channels=train.images.shape[1], classes=train.classes)

    if (found := _read(at, key, blank)) is not None:
        return found
    start = time.monotonic()
    network = train_classifier(
        train.images, train.labels, train.classes,
        recipe=recipe, seed=seed, mirror=mirror, progress=progress,
    )  # fmt: skip
    seconds = time.monotonic() - start
    predicted = predict(network, test.images).labels
    accuracy = (predicted == test.labels).double().mean().item()
    data = safetensors.torch.save({k: v.contiguous() for k, v in network.state_dict().items()})
    weights_sha256 = hashlib.sha256(data).hexdigest()
    trained = Trained(network, accuracy, recalls(predicted, test.labels, train.classes), seconds, weights_sha256)
    _write(at, key, trained, data)
    return trained


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _write(at: Path, key: dict[str, Any], trained: Trained, weights: bytes) -> None:
    """Weights first: a reader that finds the record finds what it describes."""
    record: dict[str, Any] = {
        "key": key,
        "weights_sha256": trained.weights_sha256,
        "test_accuracy": trained.test_accuracy,
        "test_recall": list(trained.test_recall),
        "seconds": trained.seconds,
    }
    record["sha256"] = _digest(record)
    at.parent.mkdir(parents=True, exist_ok=True)
    for path, data in ((_weights(at), weights), (_record(at), json.dumps(record, indent=2).encode())):
        staging = path.with_name(f".{path.name}.part")
        write_synced(staging, data)
        staging.replace(path)
    sync_folder(at.parent)


def _read(at: Path, key: dict[str, Any], blank: Callable[[], Classifier]) -> Trained | None:
    """What the cache holds; None, with a warning in the log, if that can't be believed."""
    if not _record(at).exists():
        return None
    try:
        record = json.loads(_record(at).read_bytes())
        claimed = record.pop("sha256")
        if claimed != _digest(record) or record["key"] != key:
            raise ValueError("its record was changed")
        data = _weights(at).read_bytes()
        if hashlib.sha256(data).hexdigest() != record["weights_sha256"]:
            raise ValueError("its weights were changed")
        network = blank()
        network.load_state_dict(safetensors.torch.load(data))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        log.warning("cached classifier %s can't be used (%s): training it again", at.name, error)
        return None
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval().requires_grad_(False)
    recall = tuple(record["test_recall"])
    return Trained(network, record["test_accuracy"], recall, record["seconds"], record["weights_sha256"])


def _weights(at: Path) -> Path:
    return at.with_name(f"{at.name}.safetensors")


def _record(at: Path) -> Path:
    return at.with_name(f"{at.name}.json")
