"""Translation without pairs."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from training.__main__ import main
from training.config import load_config
from training.contrast import TEMPERATURE, PatchContrast, patch_nce
from training.journal import Progress
from training.loop import train
from training.recipes.cyclegan import POOL, Pool
from training.run_dir import RunDir, weights_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reddish noise and bluish noise."""
    root = tmp_path_factory.mktemp("colours")
    generator = torch.Generator().manual_seed(0)
    for name, strong in {"trainA": 0, "trainB": 2, "testA": 0, "testB": 2}.items():
        (root / name).mkdir()
        for i in range(8):
            pixels = torch.randint(0, 100, (20, 20, 3), generator=generator, dtype=torch.uint8)
            pixels[..., strong] += 150
            Image.fromarray(pixels.numpy()).save(root / name / f"{i}.png")
    return root


def config(folder: Path, runs: Path, name: str = "tiny") -> list[str]:
    path = runs / "config.toml"
    path.write_text(
        f"""
name = "{name}"
family = "cyclegan"
total_images = 320
batch = 4
runs = "{runs}"
augment = ["translation"]
[data]
name = "colours"
format = "unpaired"
path = "{folder}"
resolution = 16
jitter = 2
mirror = true
source = "drawn by this test"
licence = "CC0-1.0"
[hparams]
widths = [8, 8, 16]
blocks = 1
d_width = 8
d_halvings = 1
[loss]
adversarial = "least-squares"
cycle = 5.0
identity = 1.0
penalty_every = 2
[optimizer]
learning_rate = 0.003
[snapshots]
every_images = 160
save_every_s = 0
log_every_steps = 4
sheet_columns = 6
sheet_rows = 2
[device]
accelerator = "cpu"
precision = "float32"
threads = 1
"""
    )
    return [str(path)]


def test_it_learns_both_ways_and_a_stopped_run_ends_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.images_seen >= 160:
            raise KeyboardInterrupt

    path = config(folder, tmp_path)
    assert main(["run", *path]) == 0
    run = RunDir(tmp_path / "tiny")
    again = load_config(Path(path[0]), ["name=halves"])
    with pytest.raises(KeyboardInterrupt):
        train(again, stop)
    train(again, lambda _: None)
    for network in ("ema", "ema_back", "judge_a", "pool_b"):  # the pool too: it decides what comes next
        straight, resumed = weights_of(run, network), weights_of(RunDir(tmp_path / "halves"), network)
        assert straight and all(torch.equal(straight[name], resumed[name]) for name in straight)
    stats = run.stats()
    assert {"loss/g", "loss/d", "loss/cycle", "loss/identity", "penalty/r1"} <= set().union(*stats)
    with Image.open(run.samples / "0000000320.png") as sheet:
        assert sheet.size == (6 * 16, 2 * 16)  # as it was, translated, brought back: two of each row there, two back


def test_the_pool_shows_older_translations_half_of_the_time() -> None:
    torch.manual_seed(0)
    pool = Pool(1, 2, torch.device("cpu"))
    first = torch.arange(POOL, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    assert torch.equal(pool.exchange(first), first)  # it fills
    shown = pool.exchange(first + 1000)
    older = (shown[:, 0, 0, 0] < 1000).float().mean()
    assert 0.3 < older < 0.7
    kept = pool.pictures[:, 0, 0, 0]
    assert ((kept >= 1000).float().mean() - older).abs() < 0.2  # an older one that was shown has left its place


def test_without_a_cycle_there_is_nothing_to_hold_on_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *config(folder, tmp_path), "loss.cycle=0"]) == 2
    assert "loss.cycle and loss.contrast are 0" in capsys.readouterr().err


def test_patches_may_tell_of_their_originals_instead(folder: Path, tmp_path: Path) -> None:
    path = config(folder, tmp_path)
    assert main(["run", *path, "loss.cycle=0", "loss.contrast=1.0"]) == 0
    run = RunDir(tmp_path / "tiny")
    stats = run.stats()
    assert "loss/cycle" not in stats[0]
    assert stats[-1]["loss/contrast"] < stats[0]["loss/contrast"]
    assert weights_of(run, "contrast_back")


def test_the_contrast_by_hand() -> None:
    keys = torch.eye(2)[None]  # two patches that have nothing in common
    alike, swapped = patch_nce(keys, keys), patch_nce(keys.flip(1), keys)
    assert alike.item() == pytest.approx(math.log(1 + math.exp(-1 / TEMPERATURE)), abs=1e-5)
    assert swapped.item() == pytest.approx(math.log(1 + math.exp(1 / TEMPERATURE)), rel=1e-5)


def test_no_gradient_of_the_contrast_goes_to_the_original() -> None:
    torch.manual_seed(0)
    contrast = PatchContrast((3, 5))
    made, given = ([torch.randn(2, c, 4, 6, requires_grad=True) for c in (3, 5)] for _ in range(2))
    contrast(made, given).backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in made)
    assert all(x.grad is None for x in given)
