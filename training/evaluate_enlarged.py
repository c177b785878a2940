"""Measures enlargement: how near to the true picture, how sharp, and whether it agrees with what was given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from models.checkpoint import Checkpoint
from models.families.srgan import SrganHParams, enlarge, shrink
from models.manifest import Metric
from models.pixels import from_uint8, to_uint8
from training.answer_bench import Bench, answers, distances_to_real
from training.data import DataError
from training.data.locate import locate
from training.data.photos import Photos
from training.metrics.reconstruction import luma, psnr_y, ssim_y

LOW, HIGH = "LR_bicubic_x4", "HR"  # folders of a super-resolution benchmark, pictures of the same names in both


PATCH = 64  # px at most, of the squares by which answers are compared with real photographs
PATCHES = 20  # of each training photo, at random places
Sets = dict[str, list[tuple[Tensor, Tensor]]]  # by name: low and high resolution, uint8 (C, H, W) each


def super_resolution(checkpoint: Checkpoint, bench: Bench) -> dict[str, Metric]:
    """Of every set and of each of the entry's weights, beside bicubic enlargement.

    PSNR and SSIM on luma; sharpness; what is off when made small again; and of the held-out split the distance to real photos.
    """
    hparams = checkpoint.hparams
    assert isinstance(hparams, SrganHParams) and isinstance(bench.test, Photos) and isinstance(bench.train, Photos)
    scale = hparams.scale
    sets: Sets = {"val": [(_small(hr, scale), hr) for hr in (_cropped(photo, scale) for photo in bench.test.photos)]}
    for name in bench.data.benchmarks:
        sets[name] = _benchmark(name)
    networks: dict[str, nn.Module | None] = {"bicubic": None, "": checkpoint.generator, **checkpoint.extras}
    side = min(PATCH, hparams.resolution)
    real = _random_patches(bench.train, side), _patches([hr for _, hr in sets["val"]], side)
    metrics: dict[str, Metric] = {}
    for part, network in networks.items():
        by = "bicubic enlargement" if network is None else f"the {part or 'published'} weights"
        for set_name, pairs in sets.items():
            made = []
            for i, (lr, _) in enumerate(pairs):
                bench.progress(f"enlarging {set_name}, {part or 'published'}", (i + 1) / len(pairs))
                made.append(_bicubic(lr, scale) if network is None else next(answers(network, lr[None]))[0])
            suffix = f"_{set_name}" + (f"_{part}" if part else "")
            metrics |= _of_set(bench, made, pairs, scale, suffix, f"{set_name}, by {by}")
            if set_name == "val":
                far = distances_to_real(bench, *real, _patches(made, side), what="squares of answers")
                metrics |= {f"{name}{suffix}": metric for name, metric in far.items()}
    return metrics


def _of_set(
    bench: Bench, made: list[Tensor], pairs: list[tuple[Tensor, Tensor]], scale: int, suffix: str, whose: str
) -> dict[str, Metric]:
    """The measurements of the answers to one set. `whose`: the set and the weights, in words."""
    n = len(pairs)
    how = f"of luma with {scale} px cut off, mean over the {n} pictures of {whose}."
    both = [(a[None], hr[None]) for a, (_, hr) in zip(made, pairs, strict=True)]
    off = [(_small(a, scale).int() - lr.int()).abs() for a, (lr, _) in zip(made, pairs, strict=True)]
    return {
        f"psnr_y{suffix}": bench.metric([float(psnr_y(a, b, scale)) for a, b in both], n, f"PSNR, dB, {how}"),
        f"ssim_y{suffix}": bench.metric([float(ssim_y(a, b, scale)) for a, b in both], n, f"SSIM {how}"),
        f"sharpness{suffix}": bench.metric(
            [float(fine_detail(a) / fine_detail(b)) for a, b in both],
            n,
            f"Energy of the finest detail (Laplacian of luma), as a share of the true picture's, mean over the {n} of {whose}.",
            1.0,
        ),
        f"disagreement{suffix}": bench.metric(
            [float((x > 1).double().mean()) for x in off],
            n,
            f"Share of values more than one 8-bit step off when made small again, {whose}.",
        ),
    }


def fine_detail(images: Tensor) -> Tensor:
    """Mean square of the Laplacian of RGB images' luma, uint8 (B, 3, H, W) → (B,)."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)[None, None]
    return F.conv2d(luma(images), kernel).square().mean(dim=(1, 2, 3))


def _patches(pictures: list[Tensor], side: int) -> Tensor:
    """All squares of pictures (C, H, W) that lie side by side: (N, C, side, side)."""
    squares = [p.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).flatten(0, 1) for p in pictures]
    return torch.cat(squares)


def _random_patches(photos: Photos, side: int) -> Tensor:
    """Squares of training photos, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rows = torch.arange(len(photos)).repeat(PATCHES)
        (squares,) = replace(photos, side=side).batch(rows, mirror=False)
    return to_uint8(squares).permute(0, 3, 1, 2)


def _cropped(photo: Tensor, scale: int) -> Tensor:
    """(C, H, W), cut on the right and below so that both sides are multiples of the scale."""
    _, height, width = photo.shape
    return photo[:, : height // scale * scale, : width // scale * scale]


def _small(hr: Tensor, scale: int) -> Tensor:
    return to_uint8(shrink(from_uint8(hr[None]), scale)).permute(0, 3, 1, 2)[0]


def _bicubic(lr: Tensor, scale: int) -> Tensor:
    return to_uint8(enlarge(from_uint8(lr[None]), scale)).permute(0, 3, 1, 2)[0]


def _benchmark(name: str) -> list[tuple[Tensor, Tensor]]:
    folder = locate(name)
    if folder is None:
        raise DataError(f"the benchmark '{name}' is not there; put its folders {LOW} and {HIGH} below one of the data folders")

    def read(path: Path) -> Tensor:
        with Image.open(path) as picture:
            return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)

    return [(read(folder / LOW / path.name), read(path)) for path in sorted((folder / HIGH).iterdir())]
