"""docs/adding-a-family.md, followed to the letter in a copy of the repository."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from server_process import ServerProcess

from models.checkpoint import read_manifest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "adding-a-family.md").read_text()
BLOCK = r"```{}\n(.*?)```"
WRITE = re.compile(r"Write `([^`]+)`:\n\n" + BLOCK.format(r"(?:python|toml)"), re.S)
INSERT = re.compile(r"In `([^`]+)`, under `([^`]+)`:\n\n" + BLOCK.format("python"), re.S)
COMMANDS = [line for block in re.findall(BLOCK.format("sh"), GUIDE, re.S) for line in block.splitlines()]
TYPIST = """
import runpy, shlex, sys
for command in sys.argv[1:]:
    _, first, *words = shlex.split(command)
    try:
        if first == "-m":
            sys.argv = words
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(f"{command} ended with {end.code}")
"""
SHORT = "total_images=640 snapshots.every_images=640"  # it need not be a good model here


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, without its models, as it is after steps 1 to 4."""
    root = tmp_path_factory.mktemp("adding") / "repository"
    for name in ("app", "models", "training", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("zoo", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for path, text in WRITE.findall(GUIDE):
        assert not (root / path).exists(), path
        (root / path).write_text(text)
    for path, line, text in INSERT.findall(GUIDE):
        lines = (root / path).read_text().splitlines(keepends=True)
        assert lines.count(f"{line}\n") == 1, f"{path} has no line: {line}"
        lines.insert(lines.index(f"{line}\n") + 1, text)
        (root / path).write_text("".join(lines))
    return root


def do(commands: list[str], copy: Path) -> None:
    """Python commands as they are typed, in the copy, but for one process that has read PyTorch once."""
    done = subprocess.run([sys.executable, "-c", TYPIST, *commands], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_every_block_of_the_guide_is_followed() -> None:
    blocks = re.findall(r"^```\w", GUIDE, re.M)
    commands = re.findall(r"^```sh", GUIDE, re.M)
    assert len(WRITE.findall(GUIDE)) + len(INSERT.findall(GUIDE)) + len(commands) == len(blocks)


def test_the_family_keeps_the_contract_trains_is_published_and_is_served(copy: Path, tmp_path: Path) -> None:
    typed = [line for line in COMMANDS if line.startswith(".venv/bin/python ")]
    assert len(typed) == 4
    do([f"{line} {SHORT}" if " run " in line else line for line in typed], copy)
    entry = copy / "models" / "zoo" / "stripes" / "1"
    manifest = read_manifest(entry)
    assert (manifest.family, manifest.training.images_seen) == ("linear", 640)
    assert "`fd`" in (entry / "CARD.md").read_text()

    server = ServerProcess(copy / "models" / "zoo", tmp_path / "server.log", root=copy, GANYMEDE_DEFAULT_MODEL="stripes")
    try:
        server.wait_until_ready()
        curls = [line for line in COMMANDS if line.startswith("curl")]
        assert len(curls) == 2
        for line in curls:
            words = shlex.split(line.replace("http://127.0.0.1:8000", server.url))
            subprocess.run([words[0], "-sS", "--fail", *words[1:]], cwd=tmp_path, check=True)
    finally:
        server.kill()
    with Image.open(tmp_path / "stripes.png") as picture:
        assert picture.size == (16, 16)
    assert np.load(tmp_path / "many.npy").shape == (64, 16, 16, 1)
