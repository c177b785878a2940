"""Metrics of labels: how often a picture shows what was asked for, and what a classifier learns from generated pictures."""

from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.classifier import PROTOCOL, Prediction, predict
from models.manifest import Metric
from training.bench import Bench
from training.data import LabelledImages
from training.metrics import cas
from training.metrics.cache import Trained
from training.metrics.class_presence import MIN_SHARE, classes_present
from training.metrics.draw import asked_labels
from training.metrics.errors import errors_per_10000
from training.metrics.filtered import MIN_CONFIDENCE, filtered
from training.metrics.label_match import label_match

PRESENCE_PICTURES = 1000
TIMES = 5  # as many filtered pictures as real ones
FILTER_SEED = 200  # of the classifier by which data sets are filtered, and by which nothing is judged


def judged(bench: Bench, judge: Trained, images: Tensor) -> Prediction:
    """What the judge reads in pictures uint8 (N, C, H, W)."""
    bench.progress("judging labels", 0.0)
    return predict(judge.network, images)


def matched(bench: Bench, judge: Trained, images: Tensor, asked: Tensor) -> tuple[dict[str, Metric], tuple[float, ...]]:
    """How often the judge reads the label that was asked for (N,), in all and of each class."""
    n = min(bench.scale.pictures, len(images))
    match = label_match(judged(bench, judge, images[:n]).labels, asked[:n], bench.train.classes)
    protocol = (
        f"Share of {n:,} generated pictures that an independent CNN trained on the real data reads as the label asked for, "
        f"labels in the real proportions; floor: its accuracy on the real test split."
    )
    return {"label_match": bench.metric([match.share], judge.test_accuracy, n, protocol)}, match.recall


def _score(bench: Bench, train: LabelledImages, stage: str) -> cas.Score:
    return cas.accuracy_score(
        train, bench.test, mirror=bench.data.mirror, recipe=bench.scale.features, seeds=bench.scale.cas_seeds,
        cache=bench.cache, progress=bench.progress, stage=stage,
    )  # fmt: skip


def _gap(bench: Bench, real: cas.Score, made: cas.Score, n: int, protocol: str) -> Metric:
    spread = None if len(bench.scale.cas_seeds) == 1 else (real.std**2 + made.std**2) ** 0.5
    return bench.metric([real.mean - made.mean], 0.0, n, protocol, spread=spread)


def scored(bench: Bench, generated: LabelledImages) -> tuple[dict[str, Metric], tuple[float, ...]]:
    """Classification accuracy scores of real and of generated training data, and their difference."""
    scale = bench.scale
    real = _score(bench, bench.train, "training on real pictures")
    made = _score(bench, generated, "training on generated pictures")
    how = (
        f"accuracy on the {len(bench.test):,} real test pictures, mean ± deviation over {len(scale.cas_seeds)} seeds, of a CNN "
        f"trained for {scale.features.steps:,} steps (protocol {PROTOCOL}, last step, nothing chosen on the test split)"
    )
    n = len(generated)
    lost = f"cas_real − cas: what is lost by training on {n:,} generated pictures instead of the real ones."
    metrics = {
        "cas": bench.metric(
            made.accuracies, real.mean, n, f"Classification accuracy score: {how} only on {n:,} generated pictures with the "
            f"labels of the real training split; floor: cas_real."
        ),
        "cas_real": bench.metric(real.accuracies, None, n, f"The same on the real training split: {how} on it."),
        "cas_gap": _gap(bench, real, made, n, lost),
    }  # fmt: skip
    return metrics, made.recall


def scored_filtered(bench: Bench, checkpoint: Checkpoint, judge: Trained) -> dict[str, Metric]:
    """What generated pictures can do that real ones can't: be drawn again where a filter doubts their label, and be many.

    Label match and classification accuracy score; empty where the filter lets hardly anything pass.
    """
    reader = bench.classifier(bench.scale.features, FILTER_SEED, "training the filter").network
    asked = asked_labels(bench.train.labels, TIMES * len(bench.train))
    kept = filtered(checkpoint, reader, asked, bench.progress)
    if kept is None:
        return {}
    n = len(asked)
    real = _score(bench, bench.train, "training on real pictures")
    made = _score(bench, LabelledImages(kept.images, asked, bench.train.label_names), "training on filtered pictures")
    told = (
        f"{n:,} pictures, {TIMES} times as many as the real ones, and refused ones drawn again, as a data set's filter with "
        f"min_confidence {MIN_CONFIDENCE} does, whose classifier is neither the judge nor one of those that are scored "
        f"({kept.drawn:,} drawn)."
    )
    read = judged(bench, judge, kept.images[: bench.scale.pictures]).labels
    match = label_match(read, asked[: len(read)], bench.train.classes)
    return {
        "label_match_filtered": bench.metric([match.share], judge.test_accuracy, len(read), f"As label_match, of {told}"),
        "cas_filtered": bench.metric(made.accuracies, real.mean, n, f"As cas, equally long, on {told}"),
        "cas_gap_filtered": _gap(bench, real, made, n, "cas_real − cas_filtered."),
    }


def present(bench: Bench, judge: Trained, images: Tensor) -> dict[str, Metric]:
    """How many of the data's classes are among the first pictures of a model without labels."""
    classes, n = bench.train.classes, PRESENCE_PICTURES
    found = len(classes_present(judged(bench, judge, images[:n]).labels, classes))
    real = len(classes_present(judged(bench, judge, bench.test.images[:n]).labels, classes))
    protocol = (
        f"Classes, of {classes}, that a CNN trained on the real data ({judge.test_accuracy:.1%} on the test split) reads in at "
        f"least {MIN_SHARE:.0%} of {n:,} generated pictures; floor: the same of real test pictures."
    )
    return {"classes_present": bench.metric([float(found)], float(real), n, protocol)}


def wrong(bench: Bench, judge: Trained, classifier: nn.Module) -> dict[str, Metric]:
    """How often a classifier that was published with the generator is wrong on the test split."""
    known = bench.data.labelled_per_class
    protocol = (
        f"Errors, in 10,000, of the published classifier on the {len(bench.test):,} test pictures, which chose nothing. "
        f"It learned from {known or 'all'} labels of each class; floor: the same of a CNN trained here with all labels."
    )
    n, floor = len(bench.test), 10_000 * (1 - judge.test_accuracy)
    return {"errors_per_10000": bench.metric([errors_per_10000(classifier, bench.test)], floor, n, protocol)}
