"""`python -m benchmarks.few_labels`: does a generator help where there are few labels? One curve, on real test pictures.

For each number of labels a class, on equal terms (one small classifier, equally long, three seeds): what it learns from the
labelled pictures, with and without plain augmentation; from these and pictures drawn by a generator, which was trained on all
training pictures with the labels that self-training gave them (`python -m training label`); and, for honesty, from those real
pictures with those labels, without any generator.

Needs, for each number N, `runs/labels/<config>-N.npy` and the run `<config>-few-N`; says which commands make them. A run with
more labels starts from the one with fewer, which are among its own. Writes `runs/few-labels-<config>.json` and `.png`.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from models.classifier import predict, train_classifier
from models.worth import AUGMENTED, SEEDS, Point, RealSet, measure, together
from training.config import load_config
from training.data import LabelledImages, load_labelled
from training.metrics.draw import asked_labels, draw
from training.publish import average_of
from training.run_dir import RunDir

MORE_LABELS_IMAGES = 60_000  # that a run is shown which starts from another
LINES = {
    "real": ("labels alone", "tab:blue", ":"),
    "real_augmented": ("labels and augmentation", "tab:blue", "-"),
    "real_and_synthetic_augmented": ("labels and generated pictures", "tab:orange", "-"),
    "self_training": ("labels and self-training, no generator", "tab:grey", "--"),
}


def synthetic(run: RunDir, data: LabelledImages, count: int) -> tuple[Tensor, Tensor]:
    """Pictures of a run's averaged generator, classes in equal numbers."""
    checkpoint = average_of(run, Path("models/zoo")).checkpoint
    labels = asked_labels(torch.arange(data.classes), count)
    images = torch.cat(list(draw(checkpoint, range(count), labels.tolist())))
    return images, labels


def of_run(config: str, per_class: int, fewer: int | None, count: int) -> dict[str, Any]:
    """Everything about one number of labels. `fewer`: the number before it."""
    about = load_config(Path(f"{config}-few")).data
    train, test = load_labelled(about, "train"), load_labelled(about, "test")
    path = Path(f"runs/labels/{config}-{per_class}.npy")
    run = RunDir(Path(f"runs/{config}-few-{per_class}"))
    if not path.exists() or not run.about():
        start = f" start=runs/{config}-few-{fewer} total_images={MORE_LABELS_IMAGES}" if fewer else ""
        raise SystemExit(
            f"python -m training label {config}-few --per-class {per_class} --out {path}\n"
            f"python -m training run {config}-few name={run.path.name} data.relabel={path}{start}"
        )
    labels, known = torch.from_numpy(np.load(path)), torch.from_numpy(np.load(path.with_suffix(".known.npy")))
    few = (train.images[known], train.labels[known])
    real = RealSet(*few, test.images, test.labels)
    made = synthetic(run, train, count)
    nothing = [Point(1, 0.0)]  # what more labels would teach is what the curve shows
    found = measure(made, real, train.classes, mirror=about.mirror, curve=nothing, tell=lambda what, _: print(f"  {what}"))
    ways: dict[str, Any] = found["ways"]
    ways["self_training"] = taught((train.images, labels), few, test, mirror=about.mirror)
    agreement = (labels == train.labels)[~known].double().mean().item()
    return {"per_class": per_class, "labels_right": agreement, "generated": count, "ways": ways}


def taught(guessed: tuple[Tensor, Tensor], few: tuple[Tensor, Tensor], test: LabelledImages, *, mirror: bool) -> dict[str, Any]:
    """What real pictures with the labels of self-training teach, beside the few that are known."""
    images, labels = together(guessed, few)
    accuracies = []
    for seed in SEEDS:
        network = train_classifier(images, labels, test.classes, recipe=AUGMENTED, seed=seed, mirror=mirror)
        accuracies.append((predict(network, test.images).labels == test.labels).double().mean().item())
    return {"pictures": len(labels), "accuracy": statistics.fmean(accuracies), "deviation": statistics.stdev(accuracies)}


def drawn(results: list[dict[str, Any]], name: str) -> Figure:
    """Accuracy against the number of labels."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for way, (label, colour, line) in LINES.items():
        x = [r["per_class"] for r in results]
        y = [r["ways"][way]["accuracy"] for r in results]
        spread = [r["ways"][way]["deviation"] for r in results]
        axes.errorbar(x, y, spread, fmt=f"o{line}", color=colour, label=label, capsize=3)
    axes.set_xscale("log")
    axes.set_xticks([r["per_class"] for r in results], [str(r["per_class"]) for r in results])
    axes.set_xlabel("real labels of each class")
    axes.set_ylabel("accuracy on real test pictures")
    axes.set_title(name)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def main() -> None:
    """Prints a table, and writes the curve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_labels", description=__doc__)
    parser.add_argument("config", nargs="?", default="fashion", choices=["fashion", "flowers"])
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--generated", type=int, default=20_000, help="pictures that are drawn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = zip(options.labels, [None, *options.labels], strict=False)
    results = [of_run(options.config, n, fewer, options.generated) for n, fewer in steps]
    print("| labels a class | " + " | ".join(label for label, _, _ in LINES.values()) + " |")
    print("|---" * (len(LINES) + 1) + "|")
    for r in results:
        cells = (f"{r['ways'][way]['accuracy']:.1%} ± {r['ways'][way]['deviation']:.1%}" for way in LINES)
        print(f"| {r['per_class']} | " + " | ".join(cells) + " |")
    stem = Path(f"runs/few-labels-{options.config}")
    stem.with_suffix(".json").write_text(json.dumps(results, indent=2))
    drawn(results, load_config(Path(options.config)).data.name).savefig(stem.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
