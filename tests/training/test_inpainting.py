"""Learning to fill holes, and measuring how well: by the commands that a user types."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import load_checkpoint
from models.families.inpaint import with_hole
from models.latents import latents
from models.pixels import from_uint8
from training.__main__ import main
from training.evaluate_holes import fill_biharmonic, fill_of_mean, psnr_inside
from training.holes import centre_holes, random_holes
from training.run_dir import RunDir

SIDE = 16


def write_faces(folder: Path) -> Path:
    """Discs in the dark, whose colour can be told from any part of them: what is hidden is known from what is not."""
    across = torch.arange(SIDE)
    distance = ((across[:, None] - 7.5) ** 2 + (across[None] - 7.5) ** 2).sqrt()
    for split, count in (("train", 96), ("test", 24)):
        (folder / split).mkdir(parents=True)
        generator = torch.Generator().manual_seed(count)
        for i in range(count):
            paint = torch.randint(60, 256, (3,), generator=generator)
            pixels = torch.where(distance[..., None] < 6, paint, 20).to(torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / split / f"{i:03d}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that fills holes and one that draws, both published."""
    folder = tmp_path_factory.mktemp("inpainting")
    faces = write_faces(folder / "faces")
    for name, family, extra in (
        ("filler", "inpaint", "l1 = 5.0\nadversarial_weight = 0.05\nmatching = 1.0"),
        ("varied", "inpaint", "l1 = 5.0\nadversarial_weight = 0.05\nmatching = 1.0\ndiversity = 1.0"),
        ("drawer", "dcgan", "spectral_norm = true"),
    ):
        hparams = "z_dim = 4\nwidth = 8\nmax_width = 16"
        if family == "inpaint":
            hparams += "\ndepth = 2\nd_width = 4\nd_halvings = 1"
        (folder / f"{name}.toml").write_text(
            f"""
name = "{name}"
family = "{family}"
total_images = 1920
batch = 16
runs = "{folder}"
[data]
name = "discs"
format = "imagefolder"
path = "{faces}"
source = "drawn by this test"
licence = "CC0-1.0"
[hparams]
{hparams}
[loss]
{extra}
[optimizer]
learning_rate = 0.003
betas = [0.5, 0.99]
[ema]
half_life_images = 200
[snapshots]
every_images = 960
log_every_steps = 4
sheet_columns = 6
sheet_rows = 2
[device]
accelerator = "cpu"
precision = "float32"
threads = 1
"""
        )
    patch = pytest.MonkeyPatch()
    patch.setattr("training.__main__.CACHE", folder / "cache")
    for name in ("filler", "varied", "drawer"):
        assert main(["run", str(folder / f"{name}.toml")]) == 0
        assert main(["publish", str(folder / name), "--zoo", str(folder / "zoo"), "--quick"]) == 0
    yield folder
    patch.undo()


def test_what_was_learned_beats_what_knows_nothing(folder: Path) -> None:
    manifest = load_checkpoint(folder / "zoo" / "filler" / "1").manifest
    metrics = {name: metric.value for name, metric in manifest.metrics.items()}
    for shape in ("centre", "random"):
        assert metrics[f"psnr_{shape}_filled"] > metrics[f"psnr_{shape}_mean"] + 1
        assert metrics[f"diversity_{shape}"] > 0
        assert metrics[f"psnr_{shape}_biharmonic"] > 5
    assert manifest.task == "inpainting"
    assert "discriminator" not in manifest.extras


def test_the_sheet_shows_given_filled_and_true(folder: Path) -> None:
    with Image.open(folder / "zoo" / "filler" / "1" / "samples.png") as sheet:
        assert sheet.size == (6 * SIDE, 2 * SIDE)


def test_known_pixels_pass_through_and_each_seed_fills_in_its_own_way(folder: Path) -> None:
    checkpoint = load_checkpoint(folder / "zoo" / "filler" / "1")
    torch.manual_seed(0)
    x, hole = torch.rand(4, 3, SIDE, SIDE) * 2 - 1, random_holes(4, SIDE)
    with torch.inference_mode():
        a, b = (checkpoint.generator(with_hole(x, hole), latents(range(s, s + 4), 4)) for s in (0, 4))
    assert torch.equal(a * (1 - hole), x * (1 - hole))
    assert ((a - b).abs() * hole).amax(dim=(1, 2, 3)).min() > 0


def test_the_loss_for_diversity_makes_seeds_differ(folder: Path) -> None:
    plain, varied = (load_checkpoint(folder / "zoo" / name / "1").manifest.metrics for name in ("filler", "varied"))
    assert varied["diversity_centre"].value > 1.5 * plain["diversity_centre"].value
    assert "loss/alike" in RunDir(folder / "varied").stats()[0]


def test_a_published_discriminator_has_plain_weights_and_judges_as_it_did(folder: Path) -> None:
    checkpoint = load_checkpoint(folder / "zoo" / "drawer" / "1")
    published = checkpoint.extras["discriminator"]
    assert not any("parametrizations" in name for name in published.state_dict())
    metrics = checkpoint.manifest.metrics
    assert {"psnr_centre_searched", "psnr_centre_mean", "psnr_random_biharmonic", "coverage"} <= metrics.keys()
    real = torch.stack(
        [from_uint8(torch.from_numpy(_pixels(p))).permute(2, 0, 1) for p in (folder / "faces" / "test").iterdir()]
    )
    noise = torch.rand(24, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert published(real).mean() > published(noise).mean()
        # spectral norm: no layer stretches anything by more than one
        for weight in (p for p in published.parameters() if p.dim() == 4):
            assert torch.linalg.matrix_norm(weight.flatten(1), 2) < 1.2


def _pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).copy()


def test_holes_by_hand() -> None:
    hole = centre_holes(2, 8)
    assert hole.shape == (2, 1, 8, 8) and hole.sum() == 2 * 16
    assert hole[0, 0, 2:6, 2:6].all()
    torch.manual_seed(0)
    holes = random_holes(200, 32)
    assert set(holes.unique().tolist()) == {0.0, 1.0}
    share = holes.mean(dim=(1, 2, 3))
    assert share.min() > 0.01 and share.max() < 0.7 and 0.1 < share.mean() < 0.4
    torch.manual_seed(0)
    assert torch.equal(random_holes(200, 32), holes)


def test_baselines_by_hand() -> None:
    ramp = torch.linspace(-1, 1, 12).expand(1, 3, 12, 12).clone()
    hole = centre_holes(1, 12)
    torch.testing.assert_close(
        fill_biharmonic(ramp, hole, 0), ramp, atol=1e-4, rtol=0
    )  # a straight slope is as smooth as can be
    mean = fill_of_mean(ramp, hole, 0)
    torch.testing.assert_close(mean[hole.expand_as(mean) > 0], torch.zeros(3 * 36), atol=1e-6, rtol=0)


def test_psnr_counts_the_hole_alone() -> None:
    a, hole = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), centre_holes(1, 8)
    b = a.clone()
    b[:, :, 0, 0] = 255  # outside
    b[:, :, 2, 2] = 16  # one of sixteen
    torch.testing.assert_close(psnr_inside(a, b, hole), 10 * torch.log10(torch.tensor([255.0**2 / 16], dtype=torch.float64)))
