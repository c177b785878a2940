"""Zoo entries: whole or absent, and read with suspicion."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from zoo_factory import make_entry

from models.checkpoint import CARD_FILE, MANIFEST_FILE, SAMPLES_FILE, WEIGHTS_FILE, load_checkpoint, load_reader, read_manifest
from models.errors import CheckpointError
from models.latents import latents, one_hot
from models.manifest import FORMAT_VERSION


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return make_entry(tmp_path, "fashion", "conditional", version=3)


def edit_manifest(**changes: Any) -> Callable[[Path], None]:
    def edit(entry: Path) -> None:
        file = entry / MANIFEST_FILE
        raw = json.loads(file.read_text())
        for key, value in changes.items():
            *tables, last = key.split("__")
            table = raw
            for name in tables:
                table = table[name]
            table[last] = value
        file.write_text(json.dumps(raw))

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """Changes the tensors and makes the manifest's hash agree, as a careless tool would."""

    def edit(entry: Path) -> None:
        tensors = safetensors.torch.load_file(entry / WEIGHTS_FILE)
        change(tensors)
        data = safetensors.torch.save(tensors)
        (entry / WEIGHTS_FILE).write_bytes(data)
        edit_manifest(weights__sha256=hashlib.sha256(data).hexdigest(), weights__size_bytes=len(data))(entry)

    return edit


def truncate(entry: Path) -> None:
    file = entry / WEIGHTS_FILE
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(entry: Path) -> None:
    data = bytearray((entry / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (entry / WEIGHTS_FILE).write_bytes(data)


def no_safetensors(entry: Path) -> None:
    data = b"\x80\x04N." * 100  # a pickle, in fact
    (entry / WEIGHTS_FILE).write_bytes(data)
    edit_manifest(weights__sha256=hashlib.sha256(data).hexdigest(), weights__size_bytes=len(data))(entry)


def poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stem.weight"][0, 0] = float("nan")


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stem.bias"] = tensors["stem.bias"][:-1].clone()


def halve(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stem.bias"] = tensors["stem.bias"].half()


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (truncate, "it was cut off or replaced"),
    "changed": (flip_a_bit, "SHA-256"),
    "a pickle": (no_safetensors, "no safetensors file"),
    "no weights": (lambda e: (e / WEIGHTS_FILE).unlink(), "can't be read"),
    "no manifest": (lambda e: (e / MANIFEST_FILE).unlink(), "manifest.json is missing"),
    "manifest no JSON": (lambda e: (e / MANIFEST_FILE).write_text("{"), "can't be read"),
    "manifest a list": (lambda e: (e / MANIFEST_FILE).write_text("[]"), "no JSON object"),
    "future format": (edit_manifest(format_version=FORMAT_VERSION + 1), "Upgrade Ganymede"),
    "unknown key": (edit_manifest(colour="blue"), "colour"),
    "unknown family": (edit_manifest(family="diffusion"), "there is no family 'diffusion'"),
    "another task": (edit_manifest(task="unconditional"), "its task is given as unconditional"),
    "another size": (edit_manifest(output__height=99), "its output"),
    "a label too few": (edit_manifest(labels=["a", "b"]), "number of labels"),
    "a label twice": (edit_manifest(labels=["a", "A", "b"]), "same name"),
    "wrong hparams": (edit_manifest(hparams__widths=[16]), "widths"),
    "unknown hparam": (edit_manifest(hparams__depth=3), "depth"),
    "another name": (edit_manifest(name="dresses"), "Move the folder"),
    "weights elsewhere": (edit_manifest(weights__file="../../x"), "weights.file"),
    "NaN weight": (edit_weights(poison), "'stem.weight' holds NaN"),
    "missing key": (edit_weights(lambda t: t.pop("stem.bias")), "lack 'stem.bias'"),
    "extra key": (edit_weights(lambda t: t.update(extra=torch.zeros(1))), "unknown 'extra'"),
    "wrong shape": (edit_weights(reshape), "'stem.bias' has shape"),
    "wrong type": (edit_weights(halve), "not float32"),
}


@pytest.mark.parametrize(("breaking", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_entry_is_refused_with_its_name_the_reason_and_a_remedy(
    entry: Path, breaking: Callable[[Path], Any], told: str
) -> None:
    load_checkpoint(entry)
    breaking(entry)
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(entry)
    assert str(refused.value).startswith("fashion/3: ")
    assert told in str(refused.value)
    assert refused.value.remedy


BROKEN_PROOFS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut index": (lambda e: (e / "index.safetensors").write_bytes(b"x"), "index.safetensors has 1 bytes"),
    "no judge": (lambda e: (e / "judge.safetensors").unlink(), "judge.safetensors can't be read"),
    "readers missing": (edit_manifest(proof__readers={}), "should have the readers filter, judge"),
}


@pytest.mark.parametrize(("breaking", "told"), BROKEN_PROOFS.values(), ids=BROKEN_PROOFS)
def test_an_entry_with_a_broken_proof_is_refused(tmp_path: Path, breaking: Callable[[Path], Any], told: str) -> None:
    entry = make_entry(tmp_path, "fashion", "conditional", proved=True)
    manifest = load_checkpoint(entry).manifest
    assert load_reader(entry, manifest, "judge")(torch.zeros(2, 1, 16, 16)).shape == (2, 3)
    breaking(entry)
    with pytest.raises(CheckpointError, match=told):
        load_checkpoint(entry)


def test_a_loaded_generator_draws_what_was_saved(entry: Path) -> None:
    checkpoint = load_checkpoint(entry)
    again = load_checkpoint(entry)
    inputs = latents([1, 2], 8), one_hot([0, 2], 3)
    assert torch.equal(checkpoint.generator(*inputs), again.generator(*inputs))
    assert not checkpoint.generator.training
    assert not any(p.requires_grad or p.is_meta for p in checkpoint.generator.parameters())


def test_an_entry_has_its_files_and_nothing_else(entry: Path) -> None:
    files = [MANIFEST_FILE, WEIGHTS_FILE, SAMPLES_FILE, CARD_FILE, "discriminator.safetensors"]
    assert sorted(p.name for p in entry.iterdir()) == sorted(files)
    assert [p.name for p in entry.parent.iterdir()] == ["3"]


def test_a_version_is_never_overwritten(entry: Path, tmp_path: Path) -> None:
    before = read_manifest(entry)
    with pytest.raises(FileExistsError, match="fashion@3"):
        make_entry(tmp_path, "fashion", "conditional", version=3, weights_seed=9)
    assert read_manifest(entry) == before


PUBLISHER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
import models.checkpoint as checkpoint
from zoo_factory import make_entry
real, wanted = checkpoint.write_synced, int(sys.argv[2])
def write_and_die(path, data):
    global wanted
    wanted -= 1
    if wanted < 0:
        path.write_bytes(data[: len(data) // 2])
        import os; os.kill(os.getpid(), 9)
    real(path, data)
checkpoint.write_synced = write_and_die
make_entry(Path(sys.argv[1]), "fashion", "conditional", version=4)
"""


@pytest.mark.parametrize("files_written", range(4))
def test_a_publisher_killed_half_way_leaves_no_entry(tmp_path: Path, files_written: int) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", PUBLISHER, str(tmp_path), str(files_written)]
    assert subprocess.run(command, cwd=root, check=False).returncode == -9
    assert [p.name for p in (tmp_path / "fashion").iterdir() if not p.name.startswith(".")] == []
    make_entry(tmp_path, "fashion", "conditional", version=4)  # and the next try is not in its way
