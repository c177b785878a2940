"""Measures a checkpoint on pictures as the service would send them: from seeds 0, 1, 2, …, in 8 bits.

Every number comes with its floor, which is the same measurement of real pictures held out from training, and with one sentence
that says how it was measured. Nothing is downloaded: features and labels are those of classifiers trained on the same data.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.classifier import FEATURES, JUDGE, PROTOCOL, Design, Prediction, Recipe, predict
from models.family import ClassifyingHParams
from models.manifest import Metric
from models.progress import Progress, silent
from models.tasks import Task
from training import answer_bench
from training.data import DataConfig, DataError, LabelledImages, load_labelled
from training.evaluate_answers import evaluate_answers
from training.evaluate_codes import measure_codes
from training.evaluate_holes import fill_by_search, inpainting, measure_holes
from training.metrics import cas
from training.metrics.cache import DEFAULT_CACHE, Trained, trained_classifier
from training.metrics.class_presence import MIN_SHARE, classes_present
from training.metrics.distances import frechet_distance, kernel_distance
from training.metrics.draw import asked_labels, draw
from training.metrics.errors import errors_per_10000
from training.metrics.label_match import label_match
from training.metrics.memorisation import Memorisation, View, memorisation
from training.metrics.prdc import density_coverage, subsample
from training.metrics.rotations import rotated

PRESENCE_PICTURES = 1000
NEIGHBOURS = 5
HOLES_SEARCHED = 100  # pictures: a search takes about as long as training on one


@dataclass(frozen=True)
class Scale:
    """How thorough an evaluation is. Numbers of different scales don't compare."""

    features: Recipe = FEATURES
    judge: Recipe = JUDGE
    pictures: int = 10_000  # in one measurement; never more than the test split has, so that value and floor compare
    repeats: int = 5  # disjoint sets of generated pictures, for the spread
    memorised: int = 5_000
    kernel_subsets: int = 100
    cas_seeds: tuple[int, ...] = cas.SEEDS
    real_pictures: int | None = None  # of the training split; None: all
    note: str = ""


FULL = Scale()
QUICK = Scale(
    features=Recipe(Design("pooled", (8, 16, 32, 32), features=32), images=3_200, batch=32),
    judge=Recipe(Design("strided", (8, 16, 24, 32), features=32), images=3_200, batch=32),
    pictures=200,
    repeats=2,
    memorised=200,
    kernel_subsets=10,
    cas_seeds=cas.SEEDS[:1],
    real_pictures=1_000,
    note=" Quick check on few pictures: not comparable with a published number.",
)


@dataclass(frozen=True)
class Evaluation:
    """The metrics by name, and what a card may show beside them."""

    metrics: dict[str, Metric]
    label_recall: tuple[float, ...]  # label match of each class; () for unconditional models
    cas_recall: tuple[float, ...]  # recall of each class on real pictures, after training on generated ones only
    memorised: Memorisation
    closest: tuple[tuple[Tensor, Tensor], ...]  # generated and nearest training picture, uint8 (C, H, W), closest first


@dataclass(frozen=True)
class Bench:
    """What all measurements of one evaluation share. Labels are numbered as the checkpoint numbers them."""

    train: LabelledImages
    test: LabelledImages
    data: DataConfig
    scale: Scale
    cache: Path
    progress: Progress

    def classifier(self, recipe: Recipe, seed: int, stage: str) -> Trained:
        """A classifier of the real training split, from the cache if it is there."""
        labelled = bool(self.train.classes)
        return trained_classifier(
            self.train if labelled else rotated(self.train), self.test if labelled else rotated(self.test),
            # a mirrored picture turned left looks like a picture turned right
            recipe=recipe, seed=seed, mirror=self.data.mirror and labelled, cache=self.cache,
            progress=lambda _, done: self.progress(stage, done),
        )  # fmt: skip

    def metric(
        self, values: Sequence[float], floor: float | None, n: int, protocol: str, spread: float | None = None
    ) -> Metric:
        """The mean of `values`, with their standard deviation as spread if there is no other."""
        if spread is None and len(values) > 1:
            spread = statistics.stdev(values)
        value = statistics.fmean(values)
        return Metric(value=value, spread=spread, floor=floor, n=n, protocol=protocol + self.scale.note)


def evaluate(
    checkpoint: Checkpoint,
    data: DataConfig,
    *,
    quick: bool = False,
    progress: Progress = silent,
    cache: Path = DEFAULT_CACHE,
) -> dict[str, Metric]:
    """All metrics that fit the model's task, by their stable names.

    Always `fd`, `kd`, `density`, `coverage`, `memorised`; of label-conditional models also `label_match`, `cas`, `cas_real`
    and `cas_gap`; of unconditional models of labelled data `classes_present`, and of those with a classifier
    `errors_per_10000`. Of models that answer pictures, see
    `training.evaluate_answers`, of those that fill holes `training.evaluate_holes`. `quick` takes seconds and is for tests.
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
            more, label_recall = _label_match(bench, judge, images, asked)
            metrics |= more
            more, cas_recall = _cas(bench, LabelledImages(images[: len(train)], asked[: len(train)], train.label_names))
            metrics |= more
        else:
            metrics |= _presence(bench, judge, images)
            judged = _judged(bench, judge, images[: scale.pictures]).labels
            metrics |= measure_codes(checkpoint, test, judged, judge.test_accuracy, scale.note)
        if "classifier" in checkpoint.extras:
            metrics |= _errors(bench, judge, checkpoint.extras["classifier"])
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


def _judged(bench: Bench, judge: Trained, images: Tensor) -> Prediction:
    bench.progress("judging labels", 0.0)
    return predict(judge.network, images)


def _label_match(bench: Bench, judge: Trained, images: Tensor, asked: Tensor) -> tuple[dict[str, Metric], tuple[float, ...]]:
    n = min(bench.scale.pictures, len(images))
    match = label_match(_judged(bench, judge, images[:n]).labels, asked[:n], bench.train.classes)
    protocol = (
        f"Share of {n:,} generated pictures that an independent CNN trained on the real data reads as the label asked for, "
        f"labels in the real proportions; floor: its accuracy on the real test split."
    )
    return {"label_match": bench.metric([match.share], judge.test_accuracy, n, protocol)}, match.recall


def _cas(bench: Bench, generated: LabelledImages) -> tuple[dict[str, Metric], tuple[float, ...]]:
    """Classification accuracy scores of real and of generated training data, and their difference."""
    scale = bench.scale

    def score(train: LabelledImages, stage: str) -> cas.Score:
        return cas.accuracy_score(
            train, bench.test, mirror=bench.data.mirror, recipe=scale.features, seeds=scale.cas_seeds,
            cache=bench.cache, progress=bench.progress, stage=stage,
        )  # fmt: skip

    real, made = score(bench.train, "training on real pictures"), score(generated, "training on generated pictures")
    how = (
        f"accuracy on the {len(bench.test):,} real test pictures, mean ± deviation over {len(scale.cas_seeds)} seeds, of a CNN "
        f"trained for {scale.features.steps:,} steps (protocol {PROTOCOL}, last step, nothing chosen on the test split)"
    )
    n = len(generated)
    gap = f"cas_real − cas: what is lost by training on {n:,} generated pictures instead of the real ones."
    single = len(scale.cas_seeds) == 1
    metrics = {
        "cas": bench.metric(
            made.accuracies, real.mean, n, f"Classification accuracy score: {how} only on {n:,} generated pictures with the "
            f"labels of the real training split; floor: cas_real."
        ),
        "cas_real": bench.metric(real.accuracies, None, n, f"The same on the real training split: {how} on it."),
        "cas_gap": bench.metric(
            [real.mean - made.mean], 0.0, n, gap, spread=None if single else (real.std**2 + made.std**2) ** 0.5
        ),
    }  # fmt: skip
    return metrics, made.recall


def _presence(bench: Bench, judge: Trained, images: Tensor) -> dict[str, Metric]:
    classes, n = bench.train.classes, PRESENCE_PICTURES
    found = len(classes_present(_judged(bench, judge, images[:n]).labels, classes))
    real = len(classes_present(_judged(bench, judge, bench.test.images[:n]).labels, classes))
    protocol = (
        f"Classes, of {classes}, that a CNN trained on the real data ({judge.test_accuracy:.1%} on the test split) reads in at "
        f"least {MIN_SHARE:.0%} of {n:,} generated pictures; floor: the same of real test pictures."
    )
    return {"classes_present": bench.metric([float(found)], float(real), n, protocol)}


def _errors(bench: Bench, judge: Trained, classifier: nn.Module) -> dict[str, Metric]:
    known = bench.data.labelled_per_class
    protocol = (
        f"Errors, in 10,000, of the published classifier on the {len(bench.test):,} test pictures, which chose nothing. "
        f"It learned from {known or 'all'} labels of each class; floor: the same of a CNN trained here with all labels."
    )
    n, floor = len(bench.test), 10_000 * (1 - judge.test_accuracy)
    return {"errors_per_10000": bench.metric([errors_per_10000(classifier, bench.test)], floor, n, protocol)}
