"""Measures generators that answer pictures, on the split that they never saw, in 8 bits as the service sends them.

Each number stands beside its baseline: bicubic enlargement, the picture itself, or real pictures in the place of answers.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.families.srgan import SrganHParams, enlarge, shrink
from models.manifest import Metric
from models.pixels import from_uint8, to_uint8
from training.data import DataConfig, DataError, LabelledImages, TrainingData, load
from training.data.locate import locate
from training.data.pairs import Pairs
from training.data.photos import Photos
from training.data.unpaired import Unpaired
from training.metrics.cache import Trained, trained_classifier
from training.metrics.classifier import Recipe, predict
from training.metrics.distances import frechet_distance, kernel_distance
from training.metrics.progress import Progress
from training.metrics.reconstruction import psnr, psnr_y, ssim, ssim_y
from training.metrics.rotations import rotated

MICRO_BATCH = 16
LOW, HIGH = "LR_bicubic_x4", "HR"  # folders of a super-resolution benchmark, pictures of the same names in both


@dataclass(frozen=True)
class Scale:
    """How thorough: the classifiers' recipes, and a remark for the protocol."""

    features: Recipe
    judge: Recipe
    note: str


@dataclass(frozen=True)
class Bench:
    """What all measurements of one evaluation share."""

    train: TrainingData
    test: TrainingData
    data: DataConfig
    scale: Scale
    cache: Path
    progress: Progress

    def metric(self, values: Sequence[float], n: int, protocol: str, floor: float | None = None) -> Metric:
        """The mean of `values`, and their standard deviation if there are several."""
        spread = statistics.stdev(values) if len(values) > 1 else None
        return Metric(value=statistics.fmean(values), spread=spread, floor=floor, n=n, protocol=protocol + self.scale.note)

    def classifier(self, train: LabelledImages, test: LabelledImages, recipe: Recipe, seed: int, *, mirror: bool) -> Trained:
        """From the cache, if it is there."""
        return trained_classifier(
            train, test, recipe=recipe, seed=seed, mirror=mirror, cache=self.cache,
            progress=lambda _, done: self.progress("training a classifier of real pictures", done),
        )  # fmt: skip


def evaluate_answers(
    checkpoint: Checkpoint, data: DataConfig, scale: Scale, cache: Path, progress: Progress
) -> dict[str, Metric]:
    """All metrics that fit the model's data, by their stable names. Raises DataError."""
    progress("reading data", 0.0)
    bench = Bench(load(data, "train"), load(data, "test"), data, scale, cache, progress)
    kinds: dict[type, Callable[[Checkpoint, Bench], dict[str, Metric]]] = {
        Photos: super_resolution,
        Pairs: paired,
        Unpaired: unpaired,
    }
    if type(bench.test) not in kinds:
        raise DataError(f"{data.name} is {data.format} data, which nothing here can be measured on")
    return kinds[type(bench.test)](checkpoint, bench)


@torch.inference_mode()
def answers(network: nn.Module, given: Tensor) -> Iterator[Tensor]:
    """Pictures uint8 (N, C, H, W) → answers uint8 (B, C', H', W'), batch by batch."""
    for part in torch.split(given, MICRO_BATCH):
        yield to_uint8(network(from_uint8(part).contiguous(memory_format=torch.channels_last))).permute(0, 3, 1, 2)


def answered(network: nn.Module, given: Tensor, progress: Progress) -> Tensor:
    """As `answers`, all of them."""
    parts = []
    for i, part in enumerate(answers(network, given)):
        progress("answering pictures", min(1.0, (i + 1) * MICRO_BATCH / len(given)))
        parts.append(part)
    return torch.cat(parts)


def super_resolution(checkpoint: Checkpoint, bench: Bench) -> dict[str, Metric]:
    """PSNR and SSIM on luma of every set, of the faithful and of the sharp weights, beside bicubic; and the agreement."""
    hparams = checkpoint.hparams
    assert isinstance(hparams, SrganHParams) and isinstance(bench.test, Photos)
    scale = hparams.scale
    sets = {"val": [(_small(hr, scale), hr) for hr in (_cropped(photo, scale) for photo in bench.test.photos)]}
    for name in bench.data.benchmarks:
        sets[name] = _benchmark(name)
    networks: dict[str, nn.Module | None] = {"bicubic": None, "": checkpoint.generator, **checkpoint.extras}
    metrics: dict[str, Metric] = {}
    for set_name, pairs in sets.items():
        for part, network in networks.items():
            made = []
            for i, (lr, _) in enumerate(pairs):
                bench.progress(f"enlarging {set_name}, {part or 'published'}", (i + 1) / len(pairs))
                made.append(_bicubic(lr, scale) if network is None else next(answers(network, lr[None]))[0])
            by = "bicubic enlargement" if network is None else f"the {part or 'published'} weights"
            how = f"of luma with {scale} px cut off, mean over {len(pairs)} pictures of {set_name}, by {by}."
            both = [(a[None], hr[None]) for a, (_, hr) in zip(made, pairs, strict=True)]
            suffix = f"_{set_name}" + (f"_{part}" if part else "")
            psnrs = [float(psnr_y(a, b, scale)) for a, b in both]
            metrics[f"psnr_y{suffix}"] = bench.metric(psnrs, len(pairs), f"PSNR, dB, {how}")
            metrics[f"ssim_y{suffix}"] = bench.metric([float(ssim_y(a, b, scale)) for a, b in both], len(pairs), f"SSIM {how}")
            if network is not None:
                off = [(_small(a, scale).int() - lr.int()).abs().flatten() for a, (lr, _) in zip(made, pairs, strict=True)]
                protocol = f"Share of values more than one 8-bit step off when made small again, {set_name}, by {by}."
                metrics[f"disagreement{suffix}"] = bench.metric(
                    [float((x > 1).double().mean()) for x in off], len(pairs), protocol
                )
    return metrics


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


def paired(checkpoint: Checkpoint, bench: Bench) -> dict[str, Metric]:
    """Distance to the true answers, and of the answers as a set to real pictures."""
    train, test = bench.train, bench.test
    assert isinstance(train, Pairs) and isinstance(test, Pairs)
    made, n = answered(checkpoint.generator, test.given, bench.progress), len(test)
    how = f"of {n:,} answers to pictures of the held-out split and the true ones."
    metrics = {
        "psnr": bench.metric(psnr(made, test.wanted).tolist(), n, f"PSNR, dB, {how}"),
        "ssim": bench.metric(ssim(made, test.wanted).tolist(), n, f"SSIM {how}"),
    }
    return metrics | _distances(bench, centred(train.wanted, test.resolution), test.wanted, made)


def centred(pictures: Tensor, side: int) -> Tensor:
    """The middle of each picture (N, C, S, S): training pictures are kept larger, to be cut at random."""
    off = (pictures.shape[2] - side) // 2
    return pictures[:, :, off : off + side, off : off + side]


def _distances(bench: Bench, train: Tensor, test: Tensor, made: Tensor) -> dict[str, Metric]:
    """Fréchet and kernel distance of answers to real training pictures, beside those of real test pictures."""
    unlabelled = torch.zeros(len(train), dtype=torch.int64), torch.zeros(len(test), dtype=torch.int64)
    real, held = LabelledImages(train, unlabelled[0], ()), LabelledImages(test, unlabelled[1], ())
    encoder = bench.classifier(rotated(real), rotated(held), bench.scale.features, 0, mirror=False)
    of_real, of_held, of_made = (predict(encoder.network, x).features for x in (train, test, made))
    size = min(len(test), len(made))
    mean, std = kernel_distance(of_real, of_made, size=size)
    space = (
        f"{len(made):,} answers against {len(train):,} real training pictures, floor: {len(test):,} test pictures; features of "
        f"a CNN trained here to tell which way up they are ({encoder.test_accuracy:.1%} on the test split)."
    )
    kd = Metric(
        value=mean, spread=std, floor=kernel_distance(of_real, of_held, size=size)[0], n=len(made),
        protocol=f"Unbiased squared MMD, cubic kernel, 100 subsets of {size}: {space}{bench.scale.note}",
    )  # fmt: skip
    floor = frechet_distance(of_real, of_held)
    fd = bench.metric([frechet_distance(of_real, of_made)], len(made), f"Fréchet distance: {space}", floor)
    return {"kd": kd, "fd": fd}


def unpaired(checkpoint: Checkpoint, bench: Bench) -> dict[str, Metric]:
    """How often a classifier of the real pictures takes translations for the wanted domain, and what both ways leave."""
    train, test = bench.train, bench.test
    assert isinstance(train, Unpaired) and isinstance(test, Unpaired)
    there, back = checkpoint.generator, checkpoint.extras["back"]
    side = test.resolution
    real_train, real_test = (_labelled(x, side) for x in (train, test))
    judge = bench.classifier(real_train, real_test, bench.scale.judge, 1, mirror=True)
    metrics: dict[str, Metric] = {}
    for way, forth, home, given, wanted in (("a2b", there, back, test.a, 1), ("b2a", back, there, test.b, 0)):
        made = answered(forth, given, bench.progress)
        n = len(given)

        def share(pictures: Tensor, target: int = wanted) -> float:
            return float((predict(judge.network, pictures).labels == target).double().mean())

        by = f"a CNN trained here on the real training pictures ({judge.test_accuracy:.1%} right on the real test pictures)."
        protocol = f"Share of {n} translated test pictures that are taken for the wanted domain by {by} Floor: of real ones."
        metrics[f"translated_{way}"] = bench.metric([share(made)], n, protocol, share(test.b if wanted else test.a))
        metrics[f"untranslated_{way}"] = bench.metric([share(given)], n, f"The same of the pictures as they were, by {by}")
        came_back = psnr(answered(home, made, bench.progress), given).tolist()
        protocol = f"PSNR, dB, of {n} test pictures and what comes back after both ways."
        metrics[f"cycle_psnr_{way}"] = bench.metric(came_back, n, protocol)
    return metrics


def _labelled(data: Unpaired, side: int) -> LabelledImages:
    """Both collections as one, labelled by where a picture is from."""
    a, b = centred(data.a, side), centred(data.b, side)
    return LabelledImages(torch.cat([a, b]), torch.tensor([0] * len(a) + [1] * len(b)), ("A", "B"))
