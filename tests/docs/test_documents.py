"""The documents against the code: what they tell people to type must work."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from server_process import ServerProcess

from app.settings import variables
from models.checkpoint import read_manifest
from models.families import FAMILIES
from training.config import SHIPPED_CONFIGS, TrainConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/zoo/*/*/CARD.md")])
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
ZOO = ROOT / "models" / "zoo"
ENTRIES = sorted(
    {ROOT / path for path in re.findall(r"\((models/zoo/[^/)]+/\d+)/", README)}
)  # whoever tests may have published more


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), link


def test_every_make_target_that_is_told_of_exists() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    told = {name for document in DOCUMENTS for name in re.findall(r"make ([a-z]+)\b", document.read_text())}
    assert told & set(targets) and {name for name in told if f"`make {name}" in README} <= set(targets)
    assert {line.split()[1] for line in COMMANDS if line.startswith("make ")} <= set(targets)


def test_every_setting_that_is_told_of_exists() -> None:
    known = {name for name, _, _ in variables()} | {"GANYMEDE_DATA", "GANYMEDE_PUBLISH"}
    for file in [*DOCUMENTS, ROOT / "docker-compose.yml", ROOT / "Dockerfile", ROOT / "docker" / "gpu.yml"]:
        told = set(re.findall(r"GANYMEDE_[A-Z_]*[A-Z]", file.read_text()))
        assert told <= known, file


def test_the_readmes_training_commands_are_accepted() -> None:
    told = [shlex.split(line)[1:] for line in COMMANDS if "-m training run" in line and "torchrun" not in line]
    assert told
    for words in told:
        _, _, verb, config, *overrides = [word for word in words if word != "…"]
        assert verb == "run"
        load_config(Path(config), overrides)


def keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a config."""
    found = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += keys(field.annotation, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


def test_every_key_of_a_config_is_documented() -> None:
    told = (ROOT / "docs" / "training.md").read_text()
    every = keys(TrainConfig)
    assert len(every) > 30
    assert [key for key in every if f"`{key}`" not in told and f"`{key}.*`" not in told] == []


def test_dependencies_say_why_they_are_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lines = [line for line in text.splitlines() if re.match(r'\s+"[a-z].*[>=]=', line)]
    assert len(lines) > 15 and [line for line in lines if "#" not in line] == []
    project = tomllib.loads(text)["project"]
    assert "torch==2.13.0" in project["dependencies"]


class TestShippedModels:
    @pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: f"{path.parent.name}@{path.name}")
    def test_each_has_its_config_and_its_card_has_its_numbers(self, entry: Path) -> None:
        manifest = read_manifest(entry)
        assert manifest.family in FAMILIES
        assert (SHIPPED_CONFIGS / f"{manifest.name}.toml").exists()
        card = (entry / "CARD.md").read_text()
        for name, metric in manifest.metrics.items():
            assert f"| `{name}` | {metric.value:.4g} |" in card
            assert "Quick check" not in metric.protocol

    def test_the_readmes_numbers_are_those_of_the_manifests(self) -> None:
        for entry in ENTRIES:
            manifest = read_manifest(entry)
            for name, said in re.findall(rf"^\| `{manifest.name}` \| `(\w+)` \| ([\d.]+) \|", README, re.M):
                assert float(said) == pytest.approx(manifest.metrics[name].value, abs=0.5 * 10 ** -len(said.partition(".")[2]))

    def test_every_curl_of_the_readme_works_as_pasted(self, start_server, tmp_path: Path) -> None:
        server: ServerProcess = start_server(ZOO)
        server.wait_until_ready()
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        curls = [line for line in COMMANDS if line.startswith("curl") and "/my-flowers/" not in line]
        assert len(curls) >= 6
        for line in curls:
            words = shlex.split(line.replace("http://127.0.0.1:8000", server.url))
            done = subprocess.run(
                [words[0], "-sS", "--fail", "--retry", "9", *words[1:]], cwd=tmp_path, capture_output=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stderr.decode()}"
        made = {path.name: path.read_bytes()[:6] for path in tmp_path.iterdir() if path.is_file()}
        assert made["sneaker.png"] == b"\x89PNG\r\n" and made["walk.gif"] == b"GIF89a"
        assert made["bags.zip"][:2] == b"PK" and made["digits.npy"] == b"\x93NUMPY"
