"""A run's folder: its config, its statistics, its pictures, and the state that a killed run goes on from.

runs/<name>/config.json         what was asked for
runs/<name>/amendments.jsonl    changes made to it on the way, if any
runs/<name>/start.json          whose networks it started from, if any: another run or a published model
runs/<name>/stats.jsonl         one line every few steps
runs/<name>/curves.png          the same as a picture
runs/<name>/samples/*.png       the same latents at every snapshot; the number is images seen
runs/<name>/findings.jsonl      what the doctor has found
runs/<name>/.lock               held by the process that trains it
runs/<name>/state.safetensors   everything that the next step depends on
runs/<name>/good.safetensors    the same of the last snapshot at which all was well, with on_collapse = "rollback"
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from models.checkpoint import sync_folder, write_synced
from training.config import ConfigError, TrainConfig, stored_config, to_json
from training.recipe import Recipe

FREE_TO_CHANGE = {
    "runs",
    "licence",
    "description",
    "limits",
    "proof",
    "snapshots",
    "device",
}  # none of these decides the weights
DATA_FREE_TO_CHANGE = {"path", "test_path", "also", "benchmarks", "source", "licence"}  # nor any of these
NEVER_TO_CHANGE = {"family", "hparams", "data"}  # the state wouldn't fit


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config (as JSON) that decides what the weights become: not where the data lie, or what is said of them."""
    kept = {k: v for k, v in config.items() if k not in FREE_TO_CHANGE}
    if config["on_collapse"] == "rollback":  # when the doctor looks, and what it can go back to
        kept["snapshots"] = {k: config["snapshots"][k] for k in ("every_images", "log_every_steps")}
    return {**kept, "data": {k: v for k, v in kept["data"].items() if k not in DATA_FREE_TO_CHANGE}}


def replace_file(path: Path, data: bytes) -> None:
    """Replaces a file's contents all at once: a reader, and a restart, find the old or the new, never a part."""
    staging = path.with_name(f".{path.name}.new")
    write_synced(staging, data)
    staging.replace(path)
    sync_folder(path.parent)


def pack_state(recipe: Recipe) -> dict[str, Tensor]:
    """Every tensor that the next step depends on, under flat names."""
    tensors = {f"{name}/{k}": v for name, network in recipe.networks.items() for k, v in network.state_dict().items()}
    for name, optimizer in recipe.optimizers.items():
        for parameter, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{name}/{parameter}/{slot}": v for slot, v in slots.items()}
    return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}


def unpack_state(recipe: Recipe, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `pack_state` took."""
    for name, network in recipe.networks.items():
        prefix = f"{name}/"
        network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    for name, optimizer in recipe.optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith(f"optimizer/{name}/"):
                _, _, parameter, slot = key.split("/")
                state.setdefault(int(parameter), {})[slot] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            slots = optimizer.state[parameter]
            # fused optimizers pair numbers by their place in memory: channels_last weights want channels_last moments
            slots |= {k: torch.empty_like(parameter).copy_(v) for k, v in slots.items() if v.shape == parameter.shape}


class RunDir:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = path / "samples"
        self.config_file = path / "config.json"
        self.amendments_file = path / "amendments.jsonl"
        self.start_file = path / "start.json"
        self.stats_file = path / "stats.jsonl"
        self.curves_file = path / "curves.png"
        self.findings_file = path / "findings.jsonl"
        self.state_file = path / "state.safetensors"
        self.good_file = path / "good.safetensors"

    def config(self) -> TrainConfig:
        """The config that the run was begun with, amendments included. Raises `ConfigError`."""
        try:
            return stored_config(json.loads(self.config_file.read_bytes()), str(self.config_file))
        except FileNotFoundError:
            raise ConfigError(
                f"{self.path} is no run: it has no config.json. Begin one with: python -m training run CONFIG"
            ) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from training in this folder, for as long as this one lives. Raises `ConfigError`."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self.path / ".lock").acquire(blocking=False)
        except Timeout:
            raise ConfigError(f"{self.path} is being trained by another process: let it end, or stop it first") from None
        with held:
            yield

    def open(self, config: TrainConfig, *, amend: bool) -> None:
        """Creates the folder, or checks that `config` may continue what is in it. Raises `ConfigError` if not."""
        self.samples.mkdir(parents=True, exist_ok=True)
        new = to_json(config)
        if self.config_file.exists():
            # by way of the schema: a key that is newer than the run stands there as its default, which changes nothing
            old, now = deciding(to_json(self.config())), deciding(new)
            changed = {k: [old.get(k), now[k]] for k in now if old.get(k) != now[k]}
            if changed and (not amend or changed.keys() & NEVER_TO_CHANGE):
                told = "; ".join(f"{k} was {was}, is now {now}" for k, (was, now) in changed.items())
                remedy = f"Begin another run with name=…, remove {self.path}"
                if not changed.keys() & NEVER_TO_CHANGE:
                    remedy += ", or go on with the new values with --amend (the run is then no longer one config's)"
                raise ConfigError(f"{self.path} holds a run with another config: {told}. {remedy}")
            if changed:
                line = json.dumps({"images_seen": self.images_seen(), "changed": changed})
                earlier = self.amendments_file.read_text() if self.amendments_file.exists() else ""
                replace_file(self.amendments_file, f"{earlier}{line}\n".encode())
        replace_file(self.config_file, json.dumps(new, indent=2).encode())

    def start(self) -> dict[str, Any] | None:
        """Which run this one started from, and how that one came to be; None: from nothing."""
        if not self.start_file.exists():
            return None
        origin: dict[str, Any] = json.loads(self.start_file.read_bytes())
        return origin

    def amendments(self) -> list[dict[str, Any]]:
        """Changes to the config on the way, oldest first; after those that a person made, the doctor's."""
        return [*_lines(self.amendments_file), *self.rollbacks()]

    def rollbacks(self) -> list[dict[str, Any]]:
        """How often the doctor has gone back to a good state: from where to where, why, and what is changed since.

        They stand in the state itself, so that they are there exactly if what they tell of has happened.
        """
        found: list[dict[str, Any]] = json.loads(self.about().get("rollbacks", "[]"))
        return found

    def save_state(
        self,
        recipe: Recipe,
        *,
        step: int,
        images_seen: int,
        seconds: float,
        cpu_seconds: float,
        hardware: str,
        good: bool = False,
    ) -> None:
        """Writes the state after `step` steps, replacing the one before. Both kinds of seconds are of all sittings together.

        `good`: as the one to go back to, instead.
        """
        about = {"step": str(step), "images_seen": str(images_seen), "hardware": hardware}
        about |= {"seconds": repr(seconds), "cpu_seconds": repr(cpu_seconds), "rollbacks": json.dumps(self.rollbacks())}
        replace_file(self.good_file if good else self.state_file, safetensors.torch.save(pack_state(recipe), metadata=about))

    def roll_back(self, *, images_seen: int, spent: Mapping[str, float], changed: Mapping[str, Any], because: str) -> None:
        """Puts the good state in the place of the newest one, with what is changed from here on written in it: all at once.

        `spent`: seconds, and cpu_seconds, of which going back gives none back.
        """
        about = header_of(self.good_file)
        record = {"images_seen": int(about["images_seen"]), "from": images_seen, "because": because, "changed": dict(changed)}
        about |= {k: repr(v) for k, v in spent.items()} | {"rollbacks": json.dumps([*self.rollbacks(), record])}
        tensors = safetensors.torch.load(self.good_file.read_bytes())
        replace_file(self.state_file, safetensors.torch.save(tensors, metadata=about))

    def about(self) -> dict[str, str]:
        """What the saved state says of itself: step, images_seen, seconds, cpu_seconds, hardware. Empty where there is none."""
        return header_of(self.state_file) if self.state_file.exists() else {}

    def images_seen(self) -> int:
        """Real pictures shown so far."""
        return int(self.about().get("images_seen", 0))

    def cpu_seconds(self) -> float:
        """Processor time that training took so far, of the process of rank 0; what is older than this number says 0."""
        return float(self.about().get("cpu_seconds", 0))

    def restore(self, recipe: Recipe) -> tuple[int, int, float]:
        """Loads the saved state into the recipe, if there is one. Returns steps done, images seen and seconds spent."""
        about = self.about()
        if not about:
            return 0, 0, 0.0
        unpack_state(recipe, safetensors.torch.load(self.state_file.read_bytes()))
        return int(about["step"]), int(about["images_seen"]), float(about["seconds"])

    def forget_after(self, step: int) -> None:
        """Drops statistics and findings of steps that will be done again, and a last line cut short by a kill.

        Findings that led back to a good state stay.
        """
        _write_lines(self.stats_file, [line for line in self.stats() if line["step"] <= step])
        if self.findings_file.exists():
            lives = len(self.rollbacks())
            kept = [f for f in self.findings() if f["step"] <= step or f["rollbacks"] < lives]
            _write_lines(self.findings_file, kept)

    def add_stats(self, line: Mapping[str, float]) -> None:
        """Appends a line to stats.jsonl."""
        _append(self.stats_file, line)

    def add_finding(self, line: Mapping[str, Any]) -> None:
        """Appends a line to findings.jsonl."""
        _append(self.findings_file, line)

    def stats(self) -> list[dict[str, float]]:
        """The whole lines of stats.jsonl."""
        return _lines(self.stats_file)

    def findings(self) -> list[dict[str, Any]]:
        """What the doctor has found, oldest first."""
        return _lines(self.findings_file)


def header_of(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself."""
    with path.open("rb") as f:  # by hand: the library opens the file twice, and it may be replaced in between
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    metadata: dict[str, str] = header["__metadata__"]
    return metadata


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a .jsonl file; none where there is no file."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    replace_file(path, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("a") as f:
        f.write(json.dumps(line) + "\n")
        f.flush()
        os.fsync(f.fileno())


def weights_of(run: RunDir, network: str) -> dict[str, Tensor]:
    """One network's weights out of a run's saved state. Raises `ConfigError` where nothing has been saved."""
    if not run.state_file.exists():
        raise ConfigError(f"{run.path} has no saved state yet")
    tensors: dict[str, torch.Tensor] = safetensors.torch.load_file(run.state_file)
    return {k.removeprefix(f"{network}/"): v for k, v in tensors.items() if k.startswith(f"{network}/")}
