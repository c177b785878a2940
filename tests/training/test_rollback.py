"""What follows a finding: a warning, the end, or another beginning that survives kill -9."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny import write_config, write_idx

from training.__main__ import main
from training.card import write_card
from training.config import TrainConfig, load_config
from training.journal import Progress
from training.loop import train
from training.publish import average_of
from training.run_dir import RunDir

ROOT = Path(__file__).resolve().parents[2]
# too fast at first: at half the rate and three times the penalty it learns
TOO_FAST = (
    "family=mlp", "hparams={z_dim=8, hidden=[16], d_hidden=[16]}", "augment=[]", "guide={}", "data.mirror=false",
    "total_images=1600", "optimizer.learning_rate=0.1", "optimizer.warmup_images=0", "snapshots.every_images=1600",
    "snapshots.log_every_steps=4",
)  # fmt: skip
BACK = (*TOO_FAST, "on_collapse=rollback", "rollbacks=8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("data") / "squares")


def config_of(folder: Path, data: Path, switches: tuple[str, ...]) -> TrainConfig:
    folder.mkdir(exist_ok=True)
    return load_config(write_config(folder / "tiny.toml", data, folder), switches)


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The run that rolled back, and that nobody killed."""
    return train(config_of(tmp_path_factory.mktemp("straight"), data, BACK), lambda progress: None)


def same(run: RunDir, straight: RunDir) -> None:
    """Asserts that two runs ended with the same bits, on the same way."""
    one, other = (safetensors.torch.load_file(r.state_file) for r in (run, straight))
    assert one.keys() == other.keys() and [k for k in one if not torch.equal(one[k], other[k])] == []
    assert run.amendments() == straight.amendments() and run.findings() == straight.findings()
    clocks = ("seconds", "cpu_seconds", "images_per_second")
    with_no_clock = [[{k: v for k, v in line.items() if k not in clocks} for line in r.stats()] for r in (run, straight)]
    assert with_no_clock[0] == with_no_clock[1]


def test_a_run_goes_back_and_on_more_gently_and_says_so(straight: RunDir) -> None:
    rollbacks = straight.rollbacks()
    assert rollbacks and straight.images_seen() == 1600
    first = rollbacks[0]
    assert first["from"] > first["images_seen"] and first["changed"]["optimizer.learning_rate"] == [0.1, 0.05]
    assert [f["finding"] for f in straight.findings()][: len(rollbacks)] == [r["because"] for r in rollbacks]
    assert [line["step"] for line in straight.stats()] == list(range(4, 101, 4))  # a way without detours
    averaged = average_of(straight, straight.path)
    card = write_card(averaged.checkpoint.manifest, averaged.config, [])
    assert '"optimizer.learning_rate": [0.1, 0.05]' in card and first["because"] in card


class KilledError(Exception):
    """Stands for kill -9: nothing is done after it."""


def test_a_run_that_was_killed_before_and_after_rollbacks_ends_with_the_same_bits(
    straight: RunDir, data: Path, tmp_path: Path
) -> None:
    config, run = config_of(tmp_path, data, BACK), RunDir(tmp_path / "tiny")
    for reports in (10, 20):
        left = [reports]

        def report(progress: Progress, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KilledError

        with pytest.raises(KilledError):
            train(config, report)
    train(config, lambda progress: None)
    same(run, straight)


def test_kill_9_after_a_rollback_changes_nothing(straight: RunDir, data: Path, tmp_path: Path) -> None:
    config_of(tmp_path, data, BACK)
    command = [sys.executable, "-m", "training", "run", str(tmp_path / "tiny.toml"), *BACK]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    run, deadline = RunDir(tmp_path / "tiny"), time.monotonic() + 300
    while not run.rollbacks() or run.images_seen() <= run.rollbacks()[-1]["images_seen"]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)  # another process's file: there is nothing to wait on
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run.images_seen() < 1600
    assert main(["run", str(tmp_path / "tiny.toml"), *BACK]) == 0
    same(run, straight)


def test_a_warning_changes_nothing_and_is_told(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config_of(tmp_path, data, TOO_FAST)
    with caplog.at_level("INFO"):
        assert main(["run", str(tmp_path / "tiny.toml"), *TOO_FAST, "total_images=1120"]) == 0
    findings = RunDir(tmp_path / "tiny").findings()
    assert findings and findings[0]["text"] in caplog.text
    assert RunDir(tmp_path / "tiny").images_seen() == 1120


def test_a_run_may_stop_at_a_finding(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config_of(tmp_path, data, TOO_FAST)
    assert main(["run", str(tmp_path / "tiny.toml"), *TOO_FAST, "on_collapse=stop"]) == 2
    assert RunDir(tmp_path / "tiny").findings()[0]["text"] in capsys.readouterr().err


def test_rollbacks_that_do_not_help_come_to_an_end_and_no_broken_state_is_saved(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_of(tmp_path, data, BACK)
    endless = ["optimizer.learning_rate=1e30", "loss.adversarial=hinge", "rollbacks=2"]
    assert main(["run", str(tmp_path / "tiny.toml"), *BACK, *endless]) == 2
    told = capsys.readouterr().err
    assert "Training has diverged" in told and "2 rollbacks, which did not help" in told
    run = RunDir(tmp_path / "tiny")
    assert len(run.rollbacks()) == 2 and len(run.findings()) == 3
    for file in (run.state_file, run.good_file):
        assert all(t.isfinite().all() for t in safetensors.torch.load_file(file).values() if t.is_floating_point())


def test_what_decides_when_the_doctor_looks_may_not_change(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_of(tmp_path, data, BACK)
    short = [str(tmp_path / "tiny.toml"), *BACK, "total_images=16"]
    assert main(["run", *short]) == 0
    assert main(["run", *short, "snapshots.save_every_s=9"]) == 0
    assert main(["run", *short, "snapshots.log_every_steps=2"]) == 2
    assert "snapshots" in capsys.readouterr().err
