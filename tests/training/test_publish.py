"""From a run to a zoo entry, and from a zoo entry back to its numbers, by the commands that a user types."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny import write_config, write_idx

from models.checkpoint import load_checkpoint, read_manifest
from training.__main__ import main
from training.card import rewrite_metrics
from training.config import ConfigError
from training.data.locate import portable
from training.run_dir import RunDir, weights_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run, published twice."""
    folder = tmp_path_factory.mktemp("publish")
    config = str(write_config(folder / "tiny.toml", write_idx(folder / "squares"), folder))
    patch = pytest.MonkeyPatch()
    patch.setattr("training.__main__.CACHE", folder / "cache")
    assert main(["run", config, "total_images=64"]) == 0
    for _ in range(2):
        assert main(["publish", str(folder / "tiny"), "--zoo", str(folder / "zoo"), "--quick"]) == 0
    yield folder
    patch.undo()


def test_a_published_entry_is_the_runs_average(folder: Path) -> None:
    checkpoint = load_checkpoint(folder / "zoo" / "tiny" / "1")
    expected = weights_of(RunDir(folder / "tiny"), "ema")
    got = checkpoint.generator.state_dict()
    assert expected.keys() == got.keys() and all(expected[k].equal(got[k]) for k in expected)


def test_its_manifest_tells_data_recipe_and_metrics(folder: Path) -> None:
    manifest = load_checkpoint(folder / "zoo" / "tiny" / "1").manifest
    assert manifest.labels == ("top", "middle", "bottom")
    assert (manifest.data.items, manifest.training.images_seen) == (200, 64)
    assert {"cas", "cas_real", "cas_gap", "label_match"} <= manifest.metrics.keys()
    assert {"fd", "kd", "density", "coverage", "memorised"} <= manifest.metrics.keys()
    assert all("Quick check" in metric.protocol for metric in manifest.metrics.values())
    assert str(folder / "tiny") not in json.dumps(manifest.model_dump(mode="json"))  # no paths of this machine but the data's


def test_publishing_again_makes_the_next_version(folder: Path) -> None:
    assert sorted(p.name for p in (folder / "zoo" / "tiny").iterdir()) == ["1", "2"]


def test_the_card_has_what_a_user_must_know(folder: Path) -> None:
    card = (folder / "zoo" / "tiny" / "1" / "CARD.md").read_text()
    for wanted in ("CC0-1.0", "64 real pictures seen", "`cas_gap`", "## Limits", "top, middle, bottom", "samples.png"):
        assert wanted in card


def test_evaluating_a_published_model_gives_its_cards_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "tiny@1", "--zoo", str(folder / "zoo"), "--quick"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ": card " in line]
    assert len(lines) >= 9
    for line in lines:
        _, numbers = line.split(": card ")
        said, measured = numbers.split(", now ")
        assert said == measured, line


def test_newer_numbers_go_into_a_published_card(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = shutil.copytree(folder / "zoo" / "tiny" / "1", tmp_path / "tiny" / "1")
    before = read_manifest(entry).metrics
    older = json.loads((entry / "manifest.json").read_text()) | {"format_version": 3}
    (entry / "manifest.json").write_text(json.dumps({key: value for key, value in older.items() if key != "codes"}))
    newer = before["fd"].model_copy(update={"value": 12.5})
    rewrite_metrics(entry, {"fd": newer, "fd_new": newer})
    checkpoint = load_checkpoint(entry)
    assert checkpoint.manifest.metrics == {**before, "fd": newer, "fd_new": newer}
    assert checkpoint.manifest.format_version == 4  # all of its keys are there now
    card = (entry / "CARD.md").read_text()
    assert "| `fd` | 12.5 |" in card and "| `fd_new` | 12.5 |" in card and f"| `cas` | {before['cas'].value:.4g} |" in card
    assert sorted(path.name for path in entry.iterdir()) == sorted(path.name for path in (folder / "zoo/tiny/1").iterdir())
    shutil.copy(folder / "zoo/tiny/1/manifest.json", entry)  # as if it had been stopped between the two files
    rewrite_metrics(entry, {"fd": newer, "fd_new": newer})
    assert read_manifest(entry).metrics == checkpoint.manifest.metrics and (entry / "CARD.md").read_text() == card
    (entry / "CARD.md").write_text(card.replace("12.5", "1.0"))
    with pytest.raises(ConfigError, match="correct it by hand"):
        rewrite_metrics(entry, {"fd": newer})
    assert main(["evaluate", "tiny@1", "--zoo", str(folder / "zoo"), "--quick", "--write"]) == 2
    assert "not for a card" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_told_with_those_that_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "tiny@9", "--zoo", str(folder / "zoo")]) == 2
    assert "there is no tiny@9" in capsys.readouterr().err


def test_a_run_without_a_state_cannot_be_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(tmp_path)]) == 2
    assert "is no run" in capsys.readouterr().err


def test_a_recipe_names_its_data_as_others_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANYMEDE_DATA", str(tmp_path))
    assert portable(str(tmp_path / "mnist")) == "mnist"
    assert portable("mnist") == "mnist"
    assert portable(str(tmp_path.parent / "elsewhere")) == str(tmp_path.parent / "elsewhere")


def test_another_runs_numbers_stand_beside_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(folder / "tiny.toml")
    assert main(["run", config, "name=tiny-plain", "total_images=32"]) == 0
    zoo = folder / "compared"
    beside = ["--beside", str(folder / "tiny-plain"), "--zoo", str(zoo), "--quick"]
    assert main(["publish", str(folder / "tiny"), *beside]) == 0
    metrics = load_checkpoint(zoo / "tiny" / "1").manifest.metrics
    assert metrics["fd"].value != metrics["fd_tiny_plain"].value
    assert "`tiny-plain`: 32 pictures" in metrics["fd_tiny_plain"].protocol
    capsys.readouterr()
    assert main(["evaluate", "tiny", *beside]) == 0
    value = f"{metrics['fd_tiny_plain'].value:.6g}"
    assert f"fd_tiny_plain: card {value}, now {value}" in capsys.readouterr().out


def test_a_run_starts_from_a_published_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Generator, its average and discriminator are those of the entry, and the next card says so. Another shape is refused."""
    entry = folder / "zoo" / "tiny" / "1"
    settings = [str(folder / "tiny.toml"), f"start={entry}", "total_images=16", "optimizer.learning_rate=1e-12"]
    assert main(["run", *settings, "name=tuned"]) == 0
    checkpoint, run = load_checkpoint(entry), RunDir(folder / "tuned")
    networks = {"generator": checkpoint.generator, "ema": checkpoint.generator, **checkpoint.extras}
    assert networks.keys() == {"generator", "ema", "discriminator"}
    for name, network in networks.items():
        weights = weights_of(run, name)
        assert all(torch.allclose(weights[k], v, atol=1e-6) for k, v in network.state_dict().items())
    origin = run.start()
    assert origin is not None and (origin["name"], origin["images_seen"]) == ("tiny@1", 64)
    assert main(["publish", str(folder / "tuned"), "--zoo", str(folder / "zoo"), "--quick"]) == 0
    assert "Started from the networks of `tiny@1`" in (folder / "zoo" / "tuned" / "1" / "CARD.md").read_text()
    assert main(["run", *settings, "name=wide", "hparams.z_dim=9"]) == 2
    assert "does not fit" in capsys.readouterr().err
    (folder / "zoo" / "broken").mkdir()
    (folder / "zoo" / "broken" / "manifest.json").write_text("{}")
    assert main(["run", *settings[:1], *settings[2:], "name=never", f"start={folder / 'zoo' / 'broken'}"]) == 2
    assert "start: " in capsys.readouterr().err
