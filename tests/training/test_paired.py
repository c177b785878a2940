"""Generators that know the answer while they learn."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from models.families.srgan import Generator, SrganHParams, enlarge, shrink
from models.pixels import to_uint8
from training.__main__ import main
from training.config import load_config
from training.journal import Progress
from training.loop import train
from training.run_dir import RunDir, weights_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Soft noise, which bicubic up-sampling nearly recovers, and a sharp edge, which it does not."""
    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(0)
    for split in ("train", "test"):
        (folder / split).mkdir()
        for i in range(6):
            coarse = torch.rand(1, 3, 6, 6, generator=generator) * 2 - 1
            fine = enlarge(coarse, 8)
            fine[..., 20 + i :] *= -1
            Image.fromarray(to_uint8(fine)[0].numpy()).save(folder / split / f"{i}.png")
    return folder


def run(photos: Path, runs: Path, *overrides: str) -> int:
    config = runs / "config.toml"
    config.write_text(
        f"""
name = "tiny"
family = "srgan"
total_images = 480
batch = 4
runs = "{runs}"
[data]
name = "edges"
format = "photos"
path = "{photos}"
resolution = 32
mirror = true
source = "drawn by this test"
licence = "CC0-1.0"
[hparams]
width = 8
blocks = 1
d_width = 4
[loss]
l1 = 1.0
matching = 1.0
adversarial_weight = 0.1
penalty_every = 2
[optimizer]
learning_rate = 0.003
[snapshots]
every_images = 240
save_every_s = 0
log_every_steps = 2
sheet_columns = 6
sheet_rows = 2
[device]
accelerator = "cpu"
precision = "float32"
threads = 1
"""
    )
    return main(["run", str(config), *overrides])


def test_a_run_stopped_half_way_ends_with_the_same_bits(photos: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.images_seen >= 240:
            raise KeyboardInterrupt

    assert run(photos, tmp_path) == 0
    straight = weights_of(RunDir(tmp_path / "tiny"), "ema")
    config = load_config(tmp_path / "config.toml", ["name=halves"])
    with pytest.raises(KeyboardInterrupt):
        train(config, stop)
    assert RunDir(tmp_path / "halves").images_seen() == 240
    again = weights_of(train(config, lambda _: None), "ema")
    assert straight and all(torch.equal(straight[name], again[name]) for name in straight)
    stats = RunDir(tmp_path / "tiny").stats()
    assert stats[-1]["loss/l1"] < stats[0]["loss/l1"]
    assert {"penalty/r1", "penalty/r2", "loss/matching"} <= set().union(*stats)
    assert all(torch.isfinite(w).all() for w in straight.values())
    with Image.open(tmp_path / "tiny" / "samples" / "0000000480.png") as sheet:
        assert sheet.size == (6 * 32, 2 * 32)  # two photos a row and two rows: given, made, wanted


def test_a_run_may_start_from_one_with_fewer_blocks(photos: Path, tmp_path: Path) -> None:
    """The new ones change nothing at first; a narrower network does not fit."""
    assert run(photos, tmp_path, "name=small", "total_images=40", "loss.adversarial_weight=0") == 0
    settings = (f"start={tmp_path}/small", "total_images=4", "loss.adversarial_weight=0", "optimizer.learning_rate=1e-12")
    assert run(photos, tmp_path, "name=deep", "hparams.blocks=5", *settings) == 0
    pictures = torch.rand(2, 3, 8, 8) * 2 - 1
    made = []
    for name in ("small", "deep"):
        weights = weights_of(RunDir(tmp_path / name), "ema")
        generator = Generator(SrganHParams(width=8, blocks=sum(key.endswith("conv2.bias") for key in weights)))
        generator.load_state_dict(weights)
        made.append(generator(pictures))
    assert torch.allclose(*made, atol=1e-5)
    assert run(photos, tmp_path, "name=wide", "hparams.width=12", *settings) == 2


def test_the_sharp_run_keeps_the_faithful_weights_that_it_started_from(photos: Path, tmp_path: Path) -> None:
    assert run(photos, tmp_path, "name=faithful", "loss.adversarial_weight=0", "loss.matching=0") == 0
    first = RunDir(tmp_path / "faithful")
    assert not weights_of(first, "discriminator")
    assert run(photos, tmp_path, "name=sharp", f"start={tmp_path}/faithful", "total_images=40") == 0
    kept, average = weights_of(RunDir(tmp_path / "sharp"), "faithful"), weights_of(first, "ema")
    assert all(torch.equal(kept[name], average[name]) for name in average)
    moved = weights_of(RunDir(tmp_path / "sharp"), "generator")
    assert any(not torch.equal(moved[name], average[name]) for name in average)


def test_nothing_to_learn_is_refused(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photos, tmp_path, "loss.adversarial_weight=0", "loss.l1=0") == 2
    assert "nothing to learn" in capsys.readouterr().err


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (37, 23)])
def test_the_answer_scaled_down_is_the_picture_given(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = Generator(SrganHParams(width=8, blocks=1))
    with torch.no_grad():
        network.tail.weight.mul_(20)  # invents as much as it likes
        lr = torch.rand(2, 3, height, width) * 2 - 1  # white noise is the worst case
        hr = network(lr)
    assert hr.shape == (2, 3, 4 * height, 4 * width)
    assert (shrink(hr, 4) - lr).abs().max() < 1 / 127.5
