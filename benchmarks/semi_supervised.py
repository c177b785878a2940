"""`python -m benchmarks.semi_supervised`: how often a discriminator that learned classes from few labels is wrong.

Salimans et al. 2016, https://arxiv.org/abs/1606.03498, table 1: for each number of labels, as many from each class, several
draws of which pictures are labelled; errors per 10,000 test pictures, mean ± standard deviation over the draws. Each draw is a
run of the config with its own `data.label_seed` and `seed`. Runs that are done already are only measured, so the command may be
stopped and repeated, or run in parts (`--labels 20`). The test split is looked at once, after a run's last step.

Prints a table and writes `runs/semi-supervised-<config>.json`.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch

from training.config import TrainConfig, load_config
from training.data import load_labelled
from training.loop import train
from training.metrics.errors import errors_per_10000
from training.publish import average_of

PUBLISHED = {20: "1677 ± 452", 50: "221 ± 136", 100: "93 ± 6.5", 200: "90 ± 4.2"}  # one network, MNIST: the paper's table 1


def config_of(name: str, per_class: int, draw: int, overrides: list[str]) -> TrainConfig:
    """The run of one draw."""
    own = [f"name={name}-{per_class}-{draw}", f"data.labelled_per_class={per_class}", f"data.label_seed={draw}", f"seed={draw}"]
    return load_config(Path(name), [*own, "device.threads=1", *overrides])


def errors_of(config: TrainConfig) -> float:
    """Trains to the end, if that was not done, and measures."""
    run = train(config, lambda _: None)
    classifier = average_of(run, Path("models/zoo")).checkpoint.extras["classifier"]
    return errors_per_10000(classifier, load_labelled(config.data, "test"))


def main() -> None:
    """Runs every draw and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.semi_supervised", description=__doc__)
    parser.add_argument("config", nargs="?", default="digits-few-labels", help="a shipped config of the family `semi`")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for `training run`")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100, 200], help="of all classes together")
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain = load_config(Path(options.config), options.overrides)
    classes = load_labelled(plain.data, "train").classes
    found: dict[int, list[float]] = {}
    for labels in options.labels:
        if labels % classes:
            parser.error(f"{labels} labels can't be shared evenly by {classes} classes")
        for draw in range(options.draws):
            errors = errors_of(config_of(options.config, labels // classes, draw, options.overrides))
            found.setdefault(labels, []).append(errors)
            print(f"{labels} labels, draw {draw}: {errors:.0f} errors", flush=True)
    print("| labels | errors per 10,000 | draws | best … worst | Salimans et al. |\n|---|---|---|---|---|")
    for labels, errors in found.items():
        spread = f" ± {statistics.stdev(errors):.1f}" if len(errors) > 1 else ""
        told = PUBLISHED.get(labels, "") if plain.data.name == "mnist" else ""
        extremes = f"{min(errors):.0f} … {max(errors):.0f}"
        print(f"| {labels} | {statistics.fmean(errors):.1f}{spread} | {len(errors)} | {extremes} | {told} |")
    out = plain.runs / f"semi-supervised-{plain.name}.json"
    earlier = json.loads(out.read_text()) if out.exists() else {}
    out.write_text(json.dumps(earlier | {str(labels): errors for labels, errors in found.items()}, indent=2))


if __name__ == "__main__":
    main()
