"""A run as a user has it: the command, kill -9, the same command again."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image
from tiny import write_config, write_idx

from training.__main__ import main
from training.run_dir import RunDir

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "training", "run"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The run that nobody killed."""
    folder = tmp_path_factory.mktemp("straight")
    config = write_config(folder / "tiny.toml", data, folder)
    subprocess.run([*COMMAND, str(config)], cwd=ROOT, env=ONE_THREAD, check=True)
    return RunDir(folder / "tiny")


def kill_when(process: subprocess.Popen[bytes], run: RunDir, images: int) -> None:
    """kill -9 as soon as the run has saved a state of at least so many images."""
    deadline = time.monotonic() + 120
    while run.images_seen() < images:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)  # another process's file: there is nothing to wait on
    process.send_signal(signal.SIGKILL)
    process.wait()


def without_times(run: RunDir) -> list[dict[str, float]]:
    times = ("seconds", "cpu_seconds", "images_per_second")
    return [{k: v for k, v in line.items() if k not in times} for line in run.stats()]


def test_killed_three_times_a_run_ends_with_the_same_bits(straight: RunDir, data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.toml", data, tmp_path)
    run = RunDir(tmp_path / "tiny")
    for images in (300, 800, 1400):
        process = subprocess.Popen([*COMMAND, str(config)], cwd=ROOT, env=ONE_THREAD)
        kill_when(process, run, images)
        assert run.images_seen() < 1920  # it was really cut short
    subprocess.run([*COMMAND, str(config)], cwd=ROOT, env=ONE_THREAD, check=True)

    expected, got = (safetensors.torch.load_file(r.state_file) for r in (straight, run))
    assert expected.keys() == got.keys()
    assert [k for k in expected if not torch.equal(expected[k], got[k])] == []
    assert without_times(straight) == without_times(run)
    assert {p.name: p.read_bytes() for p in straight.samples.iterdir()} == {
        p.name: p.read_bytes() for p in run.samples.iterdir()
    }


def test_a_run_leaves_config_statistics_curves_and_sheets(straight: RunDir) -> None:
    assert json.loads(straight.config_file.read_text())["name"] == "tiny"
    assert [line["images"] for line in straight.stats()] == list(range(192, 1921, 192))
    assert {"loss/d", "loss/g", "logits/real", "logits/fake", "penalty/r1", "penalty/r2"} <= straight.stats()[-1].keys()
    signals = {"spread", "variety", "copies", "distance", "gap", "told_apart"}
    assert {f"doctor/{name}" for name in signals} <= straight.stats()[-1].keys()
    assert {"gradients/generator", "gradients/discriminator", "gradients/heads"} <= straight.stats()[-1].keys()
    assert Image.open(io.BytesIO(straight.curves_file.read_bytes())).format == "PNG"
    assert sorted(p.name for p in straight.samples.iterdir()) == [f"{n:010d}.png" for n in (640, 1280, 1920)]
    sheet = Image.open(io.BytesIO((straight.samples / "0000001920.png").read_bytes()))
    assert sheet.size == (4 * 8, 3 * 8)  # a row for each class


def test_both_networks_and_the_average_have_learnt(straight: RunDir, data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.toml", data, tmp_path)
    assert main(["run", str(config), "total_images=16"]) == 0
    first, last = (safetensors.torch.load_file(r.state_file) for r in (RunDir(tmp_path / "tiny"), straight))
    for network in ("generator", "discriminator", "ema"):
        still = [k for k in first if k.startswith(f"{network}/") and torch.equal(first[k], last[k])]
        # the relativistic loss sees only differences of logits, so their common offset has no gradient
        assert still == (["discriminator/logit.bias"] if network == "discriminator" else [])


def test_a_finished_run_does_nothing_more(straight: RunDir) -> None:
    before = straight.state_file.read_bytes()
    config = straight.path.parent / "tiny.toml"
    assert main(["run", str(config)]) == 0
    assert straight.state_file.read_bytes() == before


def test_another_config_does_not_continue_a_run_unless_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_config(tmp_path / "tiny.toml", data, tmp_path))
    assert main(["run", config, "total_images=32"]) == 0
    assert main(["run", config, "total_images=64"]) == 2
    assert "total_images was 32, is now 64" in capsys.readouterr().err
    assert main(["run", config, "total_images=64", "--amend"]) == 0
    run = RunDir(tmp_path / "tiny")
    assert run.images_seen() == 64
    assert run.amendments() == [{"images_seen": 32, "changed": {"total_images": [32, 64]}}]
    assert main(["run", config, "total_images=64", "hparams.z_dim=9", "--amend"]) == 2
    assert "hparams" in capsys.readouterr().err


def test_a_run_that_is_older_than_a_key_of_the_config_goes_on(data: Path, tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "tiny.toml", data, tmp_path))
    assert main(["run", config, "guide={}", "total_images=16"]) == 0
    run = RunDir(tmp_path / "tiny")
    written = json.loads(run.config_file.read_text())
    del written["guide"], written["start"]
    run.config_file.write_text(json.dumps(written))
    assert main(["run", config, "guide={}", "total_images=16"]) == 0
    assert main(["run", config, "total_images=16"]) == 2  # with a guide it would be another run


def test_a_run_has_one_process_at_a_time(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "tiny.toml", data, tmp_path)
    process = subprocess.Popen([*COMMAND, str(config), "total_images=100_000_000"], cwd=ROOT, env=ONE_THREAD)
    run = RunDir(tmp_path / "tiny")
    try:
        deadline = time.monotonic() + 120
        while not run.images_seen():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)  # another process's file: there is nothing to wait on
        assert main(["run", str(config)]) == 2
        assert "is being trained by another process" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()
    assert main(["run", str(config), "--amend"]) == 0  # who is dead holds nothing


def test_divergence_stops_the_run_and_keeps_the_last_good_state(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_config(tmp_path / "tiny.toml", data, tmp_path))
    assert main(["run", config, "optimizer.learning_rate=1e30", "loss.adversarial=hinge", "snapshots.save_every_s=0"]) == 2
    assert "has diverged" in capsys.readouterr().err
    state = RunDir(tmp_path / "tiny").state_file
    assert not state.exists() or all(
        t.isfinite().all() for t in safetensors.torch.load_file(state).values() if t.is_floating_point()
    )


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.path=nowhere", "nowhere"),
        ("family=mpl", "there is no family 'mpl'"),
        ("hparams.widhts=[8,8]", "widhts"),
        ("hparams.widths=[8,8,8]", "resolution 8"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_message(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, told: str
) -> None:
    config = str(write_config(tmp_path / "tiny.toml", data, tmp_path))
    assert main(["run", config, override]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.toml", data, tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = Path(__file__).with_name("two_processes.py")
    subprocess.run([*launcher, str(script), str(config)], cwd=ROOT, env={**ONE_THREAD, "PYTHONPATH": str(ROOT)}, check=True)
    run = RunDir(tmp_path / "tiny")
    assert run.images_seen() == 320  # of both together
    assert [line["images"] for line in run.stats()] == [192, 320]
