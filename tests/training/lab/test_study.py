"""A study from the command to its table and figure; and films."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import write_config, write_idx

from training.__main__ import main
from training.film import half_blocks, save_film
from training.lab.config import LabConfig
from training.lab.experiment import run
from training.lab.on_a_line import correlation
from training.lab.studies import STUDIES
from training.lab.study import derived, joined, told

TINY = ["hidden=8", "layers=1", "batch=8", "steps=4", "traces=2", "samples=100"]


def test_a_study_writes_its_table_its_numbers_and_its_figure(tmp_path: Path) -> None:
    assert main(["lab", "study", "sigma", "--share", "0.002", "--workers", "2", "--out", str(tmp_path)]) == 0
    study = STUDIES["sigma"]
    rows = list(csv.DictReader((tmp_path / "sigma.csv").read_text().splitlines()))
    assert len(rows) == len(study.variants) * study.seeds
    table = (tmp_path / "sigma.md").read_text()
    for label in study.variants:
        w1 = np.array([float(row["w1"]) for row in rows if row["variant"] == label])
        (line,) = (line for line in table.splitlines() if line.startswith(f"| {label} |"))
        assert line.split(" | ")[1] == told(w1)
    with Image.open(tmp_path / "sigma.png") as figure:
        assert figure.size[0] > 400


def test_a_study_that_is_not_there_is_told_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "study", "sigmas"]) == 2
    assert "there are: all, optimizer, minibatch, seeds" in capsys.readouterr().err


@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_of_every_study_makes_its_first_steps(name: str) -> None:
    study = STUDIES[name]
    for label, config in study.variants.items():
        short = config.model_copy(update={"steps": 2, "traces": 2, "samples": 200})
        outcome = run(short, [0])
        columns = derived(outcome) | study.also(outcome)
        assert set(study.columns) <= columns.keys(), label
        assert np.isfinite(outcome.samples).all(), label


def test_parts_of_a_study_are_joined_in_the_order_of_their_seeds() -> None:
    config = LabConfig().but(*TINY)
    whole, later, first = run(config, [0, 1, 2]), run(config, [2]), run(config, [0, 1])
    both = joined([later, first])
    assert both.seeds == (0, 1, 2)
    assert np.allclose(both.samples, whole.samples, atol=1e-5)
    assert np.allclose(both.trace["loss_d"], whole.trace["loss_d"], atol=1e-5)


def test_correlation_is_pearsons() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 20, 3))
    assert correlation(a, b)[1] == pytest.approx(np.corrcoef(a[:, 1], b[:, 1])[0, 1])


def test_spread_is_told_without_what_is_no_number() -> None:
    assert told(np.array([1.0, 3.0, np.nan])) == "2 ± 1 (1 NaN)"
    assert told(np.array([np.nan])) == "NaN"


@pytest.mark.parametrize("kind", ["mixture", "ring"])
@pytest.mark.parametrize("switch", ["stabilisers.pack=2", "stabilisers.minibatch=deviation"])
def test_an_experiment_is_filmed(kind: str, switch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "film.gif"
    assert main(["lab", "run", f"target.kind={kind}", switch, *TINY, "--seeds", "2", "--film", str(film)]) == 0
    with Image.open(film) as made:
        assert (made.n_frames, made.format) == (3, "GIF")
        made.seek(2)
        assert made.info["duration"] == 2000
    told_numbers = capsys.readouterr().out
    assert "quality" in told_numbers and ("w1" in told_numbers) == (kind == "mixture")


def test_a_film_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"\.gif, \.webp, \.png"):
        save_film([Image.new("RGB", (4, 4))], tmp_path / "film.mp4")


def test_a_picture_in_the_terminal_has_its_colours_two_a_character() -> None:
    picture = Image.new("RGB", (4, 4), (255, 0, 0))
    picture.paste((0, 0, 255), (0, 2, 4, 4))
    text = half_blocks(picture, columns=4, rows=2)
    upper, lower = text.split("\n")
    assert upper.count("\x1b[38;2;255;0;0m\x1b[48;2;255;0;0m▀") == 4
    assert lower.count("\x1b[38;2;0;0;255m\x1b[48;2;0;0;255m▀") == 4


def test_a_run_of_pictures_is_filmed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(write_config(tmp_path / "tiny.toml", write_idx(tmp_path / "squares"), tmp_path))
    assert main(["film", str(tmp_path / "tiny")]) == 2  # there is no run yet
    short = ["guide={}", "total_images=64", "snapshots.every_images=32", "snapshots.log_every_steps=1"]
    assert main(["run", config, *short]) == 0
    assert main(["film", str(tmp_path / "tiny")]) == 0
    with Image.open(tmp_path / "tiny" / "film.gif") as made:
        assert made.n_frames == len(list((tmp_path / "tiny" / "samples").iterdir())) == 2
    capsys.readouterr()
    assert main(["film", str(tmp_path / "tiny"), "--live"]) == 0  # the run has ended, so it does
    shown = io.StringIO(capsys.readouterr().out).read()
    assert shown.count("\x1b[H") == 2 and "▀" in shown
