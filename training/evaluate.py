"""Measures a checkpoint on pictures as the service would send them: from seeds 0, 1, 2, …, in 8 bits.

Every number comes with its floor, which is the same measurement of real pictures held out from training, and with one sentence
that says how it was measured. Nothing is downloaded: features and labels are those of classifiers trained on the same data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import Checkpoint
from models.classifier import PROTOCOL, predict
from models.family import ClassifyingHParams
from models.manifest import Metric
from models.progress import Progress, silent
from models.tasks import Task
from training import answer_bench
from training.bench import FULL, QUICK, Bench, Scale
from training.data import DataConfig, DataError, LabelledImages, load_labelled
from training.evaluate_answers import evaluate_answers
from training.evaluate_codes import measure_codes
from training.evaluate_holes import fill_by_search, inpainting, measure_holes
from training.evaluate_labels import PRESENCE_PICTURES, judged, matched, present, scored, scored_filtered, wrong
from training.metrics.cache import DEFAULT_CACHE, Trained
from training.metrics.distances import frechet_distance, kernel_distance
from training.metrics.draw import asked_labels, draw
from training.metrics.memorisation import Memorisation, View, memorisation
from training.metrics.prdc import density_coverage, subsample

NEIGHBOURS = 5
HOLES_SEARCHED = 100  # pictures: a search takes about as long as training on one


@dataclass(frozen=True)
class Evaluation:
    """The metrics by name, and what a card may show beside them."""

    metrics: dict[str, Metric]
    label_recall: tuple[float, ...]  # label match of each class; () for unconditional models
    cas_recall: tuple[float, ...]  # recall of each class on real pictures, after training on generated ones only
    memorised: Memorisation
    closest: tuple[tuple[Tensor, Tensor], ...]  # generated and nearest training picture, uint8 (C, H, W), closest first


def evaluate(
    checkpoint: Checkpoint,
    data: DataConfig,
    *,
    quick: bool = False,
    progress: Progress = silent,
    cache: Path = DEFAULT_CACHE,
) -> dict[str, Metric]:
    """All metrics that fit the model's task, by their stable names.

    Always `fd`, `kd`, `density`, `coverage`, `memorised`. Of label-conditional models also `label_match`, `cas`, `cas_real`
    and `cas_gap`, and of pictures that a filter lets pass `label_match_filtered`, `cas_filtered` and `cas_gap_filtered`. Of
    unconditional models of labelled data `classes_present`, and of those with a classifier `errors_per_10000`. Of models
    that answer pictures, see `training.evaluate_answers`, of those that fill holes `training.evaluate_holes`. `quick` takes
    seconds and is for tests.
    Raises DataError where data and model don't belong together, NoTestSplitError where nothing was held out.
    """
    scale = QUICK if quick else FULL
    if checkpoint.manifest.task is Task.INPAINTING:
        test = _some(load_labelled(data, "test"), scale.real_pictures)
        return inpainting(checkpoint, test.images, progress, scale.note)
    if not checkpoint.from_latents:
        answers = answer_bench.Scale(scale.features, scale.judge, scale.note)
        return evaluate_answers(checkpoint, data, answers, cache, progress)
    return measure(checkpoint, data, scale, progress=progress, cache=cache).metrics


def measure(
    checkpoint: Checkpoint,
    data: DataConfig,
    scale: Scale = FULL,
    *,
    progress: Progress = silent,
    cache: Path = DEFAULT_CACHE,
) -> Evaluation:
    """As `evaluate`, with recalls and the most suspicious pictures for a card."""
    progress("reading data", 0.0)
    train, test = fitting_splits(checkpoint, data)
    train, test = _some(train, scale.real_pictures), _some(test, scale.real_pictures)
    bench = Bench(train, test, data, scale, cache, progress)
    encoder = bench.classifier(scale.features, 0, "training the features' classifier")
    images, asked = _drawn(checkpoint, bench)
    metrics, memory = _distances(bench, encoder, images)
    label_recall: tuple[float, ...] = ()
    cas_recall: tuple[float, ...] = ()
    if train.classes:
        judge = bench.classifier(scale.judge, 1, "training the judge")
        if asked is not None:
            more, label_recall = matched(bench, judge, images, asked)
            metrics |= more
            made = LabelledImages(images[: len(train)], asked[: len(train)], train.label_names)
            more, cas_recall = scored(bench, made)
            metrics |= more | scored_filtered(bench, checkpoint, judge)
        else:
            metrics |= present(bench, judge, images)
            read = judged(bench, judge, images[: scale.pictures]).labels
            metrics |= measure_codes(checkpoint, test, read, judge.test_accuracy, scale.note)
        if "classifier" in checkpoint.extras:
            metrics |= wrong(bench, judge, checkpoint.extras["classifier"])
    if asked is None and "discriminator" in checkpoint.extras:
        held_out = _some(test, min(HOLES_SEARCHED, scale.pictures)).images
        metrics |= measure_holes(held_out, {"searched": fill_by_search(checkpoint)}, bench.progress, scale.note)
    pairs = tuple((images[i], train.images[j]) for i, j in memory.closest(16))
    return Evaluation(metrics, label_recall, cas_recall, memory, pairs)


def fitting_splits(checkpoint: Checkpoint, data: DataConfig) -> tuple[LabelledImages, LabelledImages]:
    """Training and test split with all their labels, numbered as the checkpoint numbers them. Raises `DataError`."""
    train, test = (_fitting(checkpoint, load_labelled(data.with_all_labels, split)) for split in ("train", "test"))
    return train, test


def _fitting(checkpoint: Checkpoint, data: LabelledImages) -> LabelledImages:
    """Data with labels numbered as the checkpoint numbers them. Raises DataError where they can't have been its data."""
    hparams = checkpoint.latent
    labels = hparams.label_names if isinstance(hparams, ClassifyingHParams) else checkpoint.manifest.labels
    shape = (hparams.channels, hparams.resolution, hparams.resolution)
    if tuple(data.images.shape[1:]) != shape:
        raise DataError(
            f"the data's pictures are {tuple(data.images.shape[1:])} and the model draws {shape} (channels, height, width). "
            f"Set `resolution` and `channels` in [data] to the model's"
        )
    if not labels:
        return data
    if sorted(labels) != sorted(data.label_names):
        odd = sorted(set(labels) ^ set(data.label_names))
        raise DataError(f"the data's labels are not the model's: '{odd[0]}' is in one of them only. Use the model's own data")
    numbers = torch.tensor([labels.index(name) for name in data.label_names])
    return LabelledImages(data.images, numbers[data.labels], labels, data.skipped)


def _some(data: LabelledImages, count: int | None) -> LabelledImages:
    if count is None or count >= len(data):
        return data
    index = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
    return LabelledImages(data.images[index], data.labels[index], data.label_names, data.skipped)


def _drawn(checkpoint: Checkpoint, bench: Bench) -> tuple[Tensor, Tensor | None]:
    """Generated pictures uint8 (N, C, H, W), with the labels asked for (N,) if the model takes any."""
    conditional = bool(checkpoint.latent.classes)
    scale = bench.scale
    least = scale.repeats * min(scale.pictures, len(bench.test))
    count = max(least, PRESENCE_PICTURES, scale.memorised, len(bench.train) if conditional else 0)
    asked = asked_labels(bench.train.labels, count) if conditional else None
    images = torch.empty(count, *bench.train.images.shape[1:], dtype=torch.uint8)
    done = 0
    for part in draw(checkpoint, range(count), None if asked is None else asked.tolist()):
        images[done : done + len(part)] = part
        done += len(part)
        bench.progress("drawing pictures", done / count)
    return images, asked


def _distances(bench: Bench, encoder: Trained, images: Tensor) -> tuple[dict[str, Metric], Memorisation]:
    """Everything that is measured in the encoder's features."""
    scale, test, train = bench.scale, bench.test, bench.train
    n = min(scale.pictures, len(test))
    sets = [slice(i * n, (i + 1) * n) for i in range(scale.repeats)]
    bench.progress("reading features", 0.0)
    real = predict(encoder.network, train.images).features
    bench.progress("reading features", 0.5)
    held = subsample(predict(encoder.network, test.images).features, n)
    made = predict(encoder.network, images[: max(scale.repeats * n, scale.memorised)]).features
    what = "class" if train.classes else "quarter turns"
    space = (
        f"{real.shape[1]} penultimate features of a CNN trained here to tell the real data's {what} "
        f"(protocol {PROTOCOL}, {encoder.test_accuracy:.1%} on the test split, weights {encoder.weights_sha256[:12]})"
    )
    of = f"{n:,} generated against {len(real):,} training pictures, floor: {n:,} test pictures, in {space}"
    metrics: dict[str, Metric] = {}

    def each(stage: str, function: Callable[[Tensor], float]) -> list[float]:
        values = []
        for i, part in enumerate(sets):
            bench.progress(stage, i / len(sets))
            values.append(function(made[part]))
        return values

    values = each("Fréchet distance", lambda x: frechet_distance(real, x))
    protocol = f"Fréchet distance, mean over {len(sets)} disjoint sets: {of}."
    metrics["fd"] = bench.metric(values, frechet_distance(real, held), n, protocol)

    bench.progress("kernel distance", 0.0)
    size = min(1000, n)
    mean, std = kernel_distance(real, made[: len(sets) * n], subsets=scale.kernel_subsets, size=size)
    floor = kernel_distance(real, held, subsets=scale.kernel_subsets, size=size)[0]
    protocol = f"Unbiased squared MMD, cubic kernel, mean ± deviation over {scale.kernel_subsets} subsets of {size}: {of}."
    metrics["kd"] = bench.metric([mean], floor, len(sets) * n, protocol, spread=std)

    metrics |= _density_coverage(bench, subsample(real, n), held, [made[part] for part in sets], space)
    bench.progress("nearest neighbours", 0.0)
    memory = memorisation(
        View(images[: scale.memorised], made[: scale.memorised]),
        View(test.images, predict(encoder.network, test.images).features),
        View(train.images, real),
        mirror=bench.data.mirror,
    )
    protocol = (
        f"Share of {scale.memorised:,} generated pictures nearer to one of {len(real):,} training pictures (pixels, best of "
        f"shifts up to 2 px) than all but 1 in 1,000 of one half of the test split; floor: the same share of its other half."
    )
    metrics["memorised"] = bench.metric([memory.share], memory.floor, scale.memorised, protocol)
    return metrics, memory


def _density_coverage(bench: Bench, real: Tensor, held: Tensor, made: list[Tensor], space: str) -> dict[str, Metric]:
    n = len(held)
    found = []
    for i, part in enumerate(made):
        bench.progress("density and coverage", i / len(made))
        found.append(density_coverage(real, part, k=NEIGHBOURS))
    floor = density_coverage(real, held, k=NEIGHBOURS)
    protocol = (
        f"k = {NEIGHBOURS}, {n:,} generated against {len(real):,} training pictures, mean over {len(made)} disjoint sets; "
        f"floor: {n:,} test pictures; in {space}."
    )
    return {
        "density": bench.metric([f.density for f in found], floor.density, n, f"Density, {protocol}"),
        "coverage": bench.metric([f.coverage for f in found], floor.coverage, n, f"Coverage, {protocol}"),
    }
