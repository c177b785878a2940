"""Zoo entries on disk: written in one atomic step, and read with suspicion.

An entry is a folder `zoo/<name>/<version>/` with `manifest.json`, `weights.safetensors`, `samples.png` and `CARD.md`.
Nothing in it is ever unpickled, and nothing in it is trusted before its hash, keys, shapes and values have been checked.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.classifier import Classifier, Design
from models.errors import CheckpointError, UnknownFamilyError
from models.families import family_named
from models.family import Family, HParams, LatentHParams
from models.manifest import FORMAT_VERSION, Attachment, Manifest, Weights

MANIFEST_FILE = "manifest.json"
WEIGHTS_FILE = "weights.safetensors"
SAMPLES_FILE = "samples.png"
CARD_FILE = "CARD.md"

COPY_AGAIN = "Copy or publish this version again"


@dataclass(frozen=True)
class Checkpoint:
    """A zoo entry in memory: what it says, its hyper-parameters, and its networks in eval mode on the CPU."""

    manifest: Manifest
    hparams: HParams
    generator: nn.Module
    extras: Mapping[str, nn.Module] = field(default_factory=dict)

    @property
    def from_latents(self) -> bool:
        """Whether its generator draws from latents; else it answers pictures."""
        return isinstance(self.hparams, LatentHParams)

    @property
    def latent(self) -> LatentHParams:
        """The hyper-parameters of a generator that draws from latents. Raises TypeError for one that does not."""
        if not isinstance(self.hparams, LatentHParams):
            raise TypeError(f"{self.manifest.name} draws nothing from latents")
        return self.hparams

    def generator_at(self, resolution: int) -> nn.Module:
        """The generator of pictures of one of `latent.resolutions`, with those of the weights that it needs.

        Raises ValueError for any other, TypeError for a model that does not draw from latents.
        """
        part = family_named(self.manifest.family).generator(self.latent.at(resolution))
        weights = self.generator.state_dict()
        part.load_state_dict({name: weights[name] for name in part.state_dict()})
        return part.eval().requires_grad_(False)


def in_one_line(error: ValidationError) -> str:
    """What pydantic found, on one line: where, and what is wrong there."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


def write_synced(path: Path, data: bytes) -> None:
    """Writes a file and waits until it is on the disk."""
    with path.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def sync_folder(path: Path) -> None:
    """Waits until a folder's entries are on the disk: without it, a rename may be lost with the power."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def pack_weights(state: Mapping[str, Tensor], file: str = WEIGHTS_FILE) -> tuple[bytes, Weights]:
    """A state dict as safetensors bytes, and their description for a manifest, which calls them `file`."""
    tensors = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in state.items()}
    data = safetensors.torch.save(tensors)
    description = Weights(
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        parameters=sum(t.numel() for t in tensors.values()),
    )
    return data, description


def attachment(file: str, data: bytes) -> Attachment:
    """The description of a file for a manifest."""
    return Attachment(file=file, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def save_checkpoint(
    zoo: Path, manifest: Manifest, weights: bytes, samples_png: bytes, card: str, files: Mapping[str, bytes] | None = None
) -> Path:
    """Publishes `zoo/<name>/<version>/` all at once: a reader sees the whole entry or none.

    `manifest.weights` must describe `weights`, and the rest of the manifest each of `files`, which go by their names. Returns
    the entry's folder. Raises FileExistsError where that version is published already: versions are never edited.
    """
    entry = zoo / manifest.name / str(manifest.version)
    entry.parent.mkdir(parents=True, exist_ok=True)
    if entry.exists():
        raise FileExistsError(f"{manifest.name}@{manifest.version} is already published; versions are never edited")
    # the dot keeps half-written entries out of every reader's listing
    staging = Path(tempfile.mkdtemp(prefix=f".{manifest.version}-", dir=entry.parent))
    try:
        write_synced(staging / WEIGHTS_FILE, weights)
        for name, data in (files or {}).items():
            write_synced(staging / name, data)
        write_synced(staging / SAMPLES_FILE, samples_png)
        write_synced(staging / CARD_FILE, card.encode())
        write_synced(staging / MANIFEST_FILE, (manifest.model_dump_json(indent=2) + "\n").encode())
        staging.chmod(0o755)
        sync_folder(staging)
        staging.rename(entry)
        sync_folder(entry.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return entry


def read_manifest(entry: Path) -> Manifest:
    """The manifest of `zoo/<name>/<version>/`. Raises `CheckpointError` where it can't be believed."""
    try:
        raw = json.loads((entry / MANIFEST_FILE).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(entry, f"{MANIFEST_FILE} is missing", COPY_AGAIN) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(entry, f"{MANIFEST_FILE} can't be read: {error}", COPY_AGAIN) from error
    if not isinstance(raw, dict):
        raise CheckpointError(entry, f"{MANIFEST_FILE} is no JSON object", COPY_AGAIN)
    version = raw.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        reason = f"its format_version is {version} and this build reads up to {FORMAT_VERSION}"
        raise CheckpointError(entry, reason, "Upgrade Ganymede, or publish the model with this version of it")
    try:
        manifest = Manifest.model_validate_json(json.dumps(raw), strict=False)
    except ValidationError as error:
        reason = f"{MANIFEST_FILE} is not valid ({in_one_line(error)})"
        raise CheckpointError(entry, reason, "Correct it, or publish this version again") from error
    if (manifest.name, str(manifest.version)) != (entry.parent.name, entry.name):
        reason = f"{MANIFEST_FILE} says that it is {manifest.name}/{manifest.version}"
        raise CheckpointError(entry, reason, "Move the folder to that name")
    return manifest


class _NoInit(TorchFunctionMode):
    """Leaves weights without storage alone, where drawing their random start would import all of torch's compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def load_checkpoint(entry: Path) -> Checkpoint:
    """Reads and verifies `zoo/<name>/<version>/`. Raises `CheckpointError`, which says what is wrong and what to do."""
    manifest = read_manifest(entry)
    family, hparams = _read_hparams(entry, manifest)
    if unknown := manifest.extras.keys() - family.extras.keys():
        raise CheckpointError(entry, f"a '{family.name}' has no '{min(unknown)}'", "Upgrade Ganymede, or correct `extras`")
    generator = _read_network(entry, family.generator, hparams, manifest.weights)
    extras = {name: _read_network(entry, family.extras[name], hparams, w) for name, w in manifest.extras.items()}
    _verify_proof(entry, manifest)
    return Checkpoint(manifest, hparams, generator, extras)


def _verify_proof(entry: Path, manifest: Manifest) -> None:
    """What data sets are proved with is read when it is needed; that it is all there is made sure of before."""
    proof = manifest.proof
    if proof is None:
        return
    readers = {"filter", "judge"} if manifest.labels else set()
    if proof.readers.keys() != readers:
        reason = f"`proof` should have the readers {', '.join(sorted(readers)) or 'of no classes: none'}"
        raise CheckpointError(entry, reason, "Publish this version again")
    for file in (proof.index, proof.real, *(reader.weights for reader in proof.readers.values())):
        if file is not None:
            read_attachment(entry, file)


def load_reader(entry: Path, manifest: Manifest, name: str) -> Classifier:
    """One of the entry's readers, in eval mode on the CPU. Raises `CheckpointError`."""
    reader = manifest.proof.readers.get(name) if manifest.proof else None
    if reader is None:
        raise CheckpointError(entry, f"it has no '{name}' to read pictures with", "Publish it again")
    design = Design(reader.kind, reader.widths, reader.features)
    output = manifest.output

    def make(_: Any) -> nn.Module:
        return Classifier(design, side=output.height, channels=output.channels, classes=len(manifest.labels))

    network = _read_network(entry, make, None, reader.weights)
    assert isinstance(network, Classifier)
    return network


def _read_network(entry: Path, make: Callable[[Any], nn.Module], hparams: Any, weights: Weights) -> nn.Module:
    """A network with the weights of one file, which were found to fit it."""
    state = _read_weights(entry, weights)
    # built without storage and then given the file's tensors: no time spent on a random start
    with torch.device("meta"), _NoInit():
        network = make(hparams)
    expected = network.state_dict()
    if missing := expected.keys() - state.keys():
        raise CheckpointError(entry, f"the weights lack '{min(missing)}' ({len(missing)} missing)", COPY_AGAIN)
    if extra := state.keys() - expected.keys():
        raise CheckpointError(entry, f"the weights hold an unknown '{min(extra)}' ({len(extra)} unknown)", COPY_AGAIN)
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape:
            reason = f"the weight '{key}' has shape {tuple(tensor.shape)} and the hparams call for {tuple(expected[key].shape)}"
            raise CheckpointError(entry, reason, "Correct the manifest's hparams, or publish this version again")
        if tensor.dtype != torch.float32:
            raise CheckpointError(entry, f"the weight '{key}' is {tensor.dtype}, not float32", "Publish this version again")
        if not torch.isfinite(tensor).all():
            remedy = "Publish an earlier snapshot of the run: this one had diverged"
            raise CheckpointError(entry, f"the weight '{key}' holds NaN or infinity", remedy)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _read_hparams(entry: Path, manifest: Manifest) -> tuple[Family, HParams]:
    """The family and its typed hyper-parameters, agreeing with the rest of the manifest."""
    try:
        family = family_named(manifest.family)
    except UnknownFamilyError as error:
        raise CheckpointError(entry, str(error), "Upgrade Ganymede, or correct `family`") from error
    try:
        hparams = family.hparams.model_validate(manifest.hparams)
    except ValidationError as error:
        reason = f"hparams are not valid ({in_one_line(error)})"
        raise CheckpointError(entry, reason, "Correct them, or publish this version again") from error
    drawn = (hparams.channels, hparams.resolution, hparams.resolution)
    output = manifest.output
    claims = {
        "task": (manifest.task, family.task),
        "output": ((output.channels, output.height, output.width), drawn),
        "number of labels": (len(manifest.labels), getattr(hparams, "classes", 0)),
        "number of codes": (len(manifest.codes), getattr(hparams, "codes", 0)),
    }
    for what, (says, is_) in claims.items():
        if says != is_:
            reason = f"its {what} is given as {says}, but a '{family.name}' with these hparams has {is_}"
            raise CheckpointError(entry, reason, "Correct the manifest, or publish this version again")
    if len({label.casefold() for label in manifest.labels}) != len(manifest.labels):
        raise CheckpointError(entry, "two labels have the same name (upper and lower case are alike)", "Rename one of them")
    return family, hparams


def read_attachment(entry: Path, file: Attachment) -> bytes:
    """A file of an entry, after its size and hash have been found right. Raises `CheckpointError`."""
    try:
        data = (entry / file.file).read_bytes()
    except OSError as error:
        raise CheckpointError(entry, f"{file.file} can't be read: {error.strerror}", COPY_AGAIN) from error
    if len(data) != file.size_bytes:
        reason = f"{file.file} has {len(data)} bytes and should have {file.size_bytes}: it was cut off or replaced"
        raise CheckpointError(entry, reason, COPY_AGAIN)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        reason = f"the SHA-256 of {file.file} is not the manifest's: it was changed or damaged"
        raise CheckpointError(entry, reason, COPY_AGAIN)
    return data


def _read_weights(entry: Path, weights: Weights) -> dict[str, Tensor]:
    data = read_attachment(entry, weights)
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise CheckpointError(entry, f"{weights.file} is no safetensors file: {error}", COPY_AGAIN) from error
