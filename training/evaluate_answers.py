"""Measures generators that answer pictures, on the split that they never saw, in 8 bits as the service sends them.

Each number stands beside its baseline: bicubic enlargement, the picture itself, or real pictures in the place of answers.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import Checkpoint
from models.classifier import predict
from models.manifest import Metric
from models.progress import Progress
from training.answer_bench import Bench, Scale, answered, centred, distances_to_real
from training.data import DataConfig, DataError, LabelledImages, load
from training.data.pairs import Pairs
from training.data.photos import Photos
from training.data.unpaired import Unpaired
from training.evaluate_enlarged import super_resolution
from training.metrics.reconstruction import psnr, ssim


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
    return metrics | distances_to_real(bench, centred(train.wanted, test.resolution), test.wanted, made)


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
