"""Configs: typed, and helpful where they are wrong."""

import json
from pathlib import Path

import pytest

from benchmarks.stacked_mnist import CONFIG, rows
from training.config import SHIPPED_CONFIGS, ConfigError, load_config, stored_config, to_json

MINIMAL = """
name = "tiny"
family = "mlp"
[data]
name = "d"
format = "idx"
path = "somewhere"
source = "s"
licence = "l"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(MINIMAL)
    return path


def test_overrides_are_typed(path: Path) -> None:
    config = load_config(
        path, ["batch=8", "loss.r1=0.5", "data.path=my pictures.zip", 'augment=["color"]', "hparams.hidden=[3, 4]"]
    )
    assert (config.batch, config.loss.r1, str(config.data.path)) == (8, 0.5, "my pictures.zip")
    assert config.augment == ("color",)
    assert config.hparams == {"hidden": [3, 4]}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("bacth=8", "did you mean 'batch'"),
        ("loss.penalty_evry=8", "did you mean 'loss.penalty_every'"),
        ("optimizer.lerning_rate=1", "did you mean 'optimizer.learning_rate'"),
        ("data.pth=x", "did you mean 'data.path'"),
        ("zzz=1", "valid here: name, family"),
        ("batch=many", "batch: "),
        ("batch=0", "batch: "),
        ("loss.adversarial=hing", "hinge"),
        ('loss={adversarial="hinge", label_smoothing=0.1}', "no label to smooth"),
        ("loss.clip=0.01", "bounds a `wasserstein` critic"),
        ('loss={adversarial="wasserstein", clip=0.01, spectral_norm=true}', "clip goes with no other"),
        ('loss={adversarial="wasserstein", r1=0}', "nothing bounds the `wasserstein` critic"),
        ('stabilisers={minibatch="deviation", virtual_batch=8}', "don't go together"),
        ("stabilisers={pack=3, virtual_batch=8}", "packs of 3"),
        ("stabilisers.minibatch=discriminate", "discrimination"),
        ("optimizer.momentum=0.9", "momentum is of sgd"),
        ("batch", "is no override"),
        ("name.x=1", "name is a value"),
    ],
)
def test_mistakes_are_named_with_what_would_be_right(path: Path, override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(path, [override])


def test_a_missing_file_lists_the_shipped_configs() -> None:
    with pytest.raises(ConfigError, match="fashion"):
        load_config(Path("no-such-config"))


def test_broken_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("name = ")
    with pytest.raises(ConfigError, match=r"x\.toml is no valid TOML"):
        load_config(tmp_path / "x.toml")


@pytest.mark.parametrize("path", sorted(SHIPPED_CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_named_like_their_file(path: Path) -> None:
    assert load_config(Path(path.stem)).name == path.stem


@pytest.mark.parametrize("name", rows())
def test_each_row_of_the_table_of_techniques_sets_what_there_is_to_set(name: str) -> None:
    load_config(Path(CONFIG), rows()[name])


def test_a_config_that_an_earlier_version_stored_is_read(path: Path) -> None:
    config = load_config(path)
    stored = to_json(config)
    stored["info"] |= {"moved": True, "clustering": 0.0}
    assert stored_config(stored, "a run") == config
    assert stored["info"]["moved"] is True  # whose manifest it is, keeps it
    stored["info"]["morved"] = True
    with pytest.raises(ConfigError, match=r"unknown key 'info\.morved'"):
        stored_config(stored, "a run")


@pytest.mark.parametrize("file", sorted(Path("models/zoo").glob("*/*/manifest.json")), ids=lambda path: path.parts[-3])
def test_the_recipes_of_shipped_models_are_read(file: Path) -> None:
    manifest = json.loads(file.read_text())
    recipe = stored_config({"name": manifest["name"], **manifest["training"]["config"]}, "its manifest")
    assert recipe.family == manifest["family"]
