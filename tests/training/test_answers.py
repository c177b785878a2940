"""From data to a measured zoo entry, for every kind of model that answers pictures."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from models.checkpoint import load_checkpoint
from training.__main__ import main
from training.evaluate_enlarged import fine_detail
from training.run_dir import RunDir, weights_of

SIDE = 16
COMMON = """
total_images = 64
batch = 4
[data]
name = "squares"
resolution = 16
source = "drawn by this test"
licence = "CC0-1.0"
{data}
[hparams]
{hparams}
[loss]
{loss}
[device]
accelerator = "cpu"
precision = "float32"
threads = 1
[snapshots]
sheet_columns = 6
sheet_rows = 2
"""
KINDS = {
    "pix2pix": {
        "data": 'format = "pairs"\njitter = 2\nmirror = true',
        "hparams": "width = 8\nmax_width = 16\ndepth = 2\nd_width = 4\nd_halvings = 1",
        "loss": "l1 = 10.0",
    },
    "cyclegan": {
        "data": 'format = "unpaired"\njitter = 2',
        "hparams": "widths = [8, 8, 16]\nblocks = 1\nd_width = 4\nd_halvings = 1",
        "loss": "cycle = 10.0",
    },
    "srgan": {
        "data": 'format = "photos"\nmirror = true\nbenchmarks = ["bench"]',
        "hparams": "width = 8\nblocks = 1\nd_width = 4",
        "loss": "l1 = 1.0",
    },
}
METRICS = {
    "pix2pix": {"psnr", "ssim", "kd", "fd"},
    "cyclegan": {f"{what}_{way}" for what in ("translated", "untranslated", "cycle_psnr") for way in ("a2b", "b2a")},
    "srgan": {
        f"{what}_{where}{by}"
        for where, extra in (("val", ("kd", "fd")), ("bench", ()))
        for what in ("psnr_y", "ssim_y", "sharpness", "disagreement", *extra)
        for by in ("", "_bicubic")
    },
}


def draw(path: Path, width: int, height: int, seed: int, tint: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(0, 120, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    pixels[..., tint] += 130
    Image.fromarray(pixels.numpy()).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same kind of noise in each layout."""
    root = tmp_path_factory.mktemp("data")
    for split, count in {"train": 12, "test": 8}.items():
        for i in range(count):
            draw(root / "pix2pix" / split / f"{i}.png", 2 * SIDE, SIDE, i)
            draw(root / "cyclegan" / f"{split}A" / f"{i}.png", SIDE, SIDE, i, tint=0)
            draw(root / "cyclegan" / f"{split}B" / f"{i}.png", SIDE, SIDE, i, tint=2)
            draw(root / "srgan" / split / f"{i}.png", 50, 66, i)
    draw(root / "bench" / "HR" / "a.png", 64, 48, 1)
    draw(root / "bench" / "LR_bicubic_x4" / "a.png", 16, 12, 2)
    return root


@pytest.mark.parametrize("family", KINDS)
def test_from_data_to_a_measured_entry(
    family: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANYMEDE_DATA", str(data))
    monkeypatch.setattr("training.__main__.CACHE", tmp_path / "cache")
    config = tmp_path / "config.toml"
    top = f'name = "{family}"\nfamily = "{family}"\nruns = "{tmp_path}"\n'
    kind = {**KINDS[family], "data": f'path = "{family}"\n{KINDS[family]["data"]}'}
    config.write_text(top + COMMON.format(**kind))
    zoo = tmp_path / "zoo"
    assert main(["run", str(config)]) == 0
    assert main(["publish", str(tmp_path / family), "--zoo", str(zoo), "--quick"]) == 0
    checkpoint = load_checkpoint(zoo / family / "1")
    run = RunDir(tmp_path / family)
    networks = {"": checkpoint.generator, **checkpoint.extras}
    for part, network in {"": "ema", "back": "ema_back"}.items():
        expected = weights_of(run, network)
        assert bool(expected) == (part in networks)
        for name, weight in expected.items():
            assert torch.equal(networks[part].state_dict()[name], weight)
    metrics = checkpoint.manifest.metrics
    assert set(metrics) == METRICS[family]
    assert all(m.n and m.protocol for m in metrics.values())
    with Image.open(zoo / family / "1" / "samples.png") as sheet:
        assert sheet.width == 6 * SIDE
    capsys.readouterr()
    assert main(["evaluate", family, "--zoo", str(zoo), "--data", str(data / family), "--quick"]) == 0
    told = capsys.readouterr().out
    for name, metric in metrics.items():
        assert f"{name}: card {metric.value:.6g}, now {metric.value:.6g}" in told


def test_sharpness_is_the_energy_of_the_finest_detail() -> None:
    flat = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    assert fine_detail(flat).item() == pytest.approx(0, abs=1e-18)
    board = flat.clone()
    board[:, :, ::2, ::2] = board[:, :, 1::2, 1::2] = 200
    # luma differs by 100 · 219 / 255 between neighbours, and the Laplacian by four times that
    assert fine_detail(board).item() == pytest.approx((4 * 100 * 219 / 255) ** 2)
