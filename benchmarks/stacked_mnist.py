"""`python -m benchmarks.stacked_mnist`: every technique, alone, on a thousand modes: how many are found, and how evenly?

Stacked MNIST, as Metz et al. 2016, VEEGAN and PacGAN count: 26,000 generated pictures of three digits, each read by a
classifier of single ones; a mode counts if it is drawn once. Beside that, what is harder: modes drawn at least half as often
as they should be. The rows are in `benchmarks/techniques.toml`: the same networks and number of pictures, and one switch each.
Trains what has not been trained yet (a killed one goes on), prints a table, and writes `runs/stacked-mnist.json`. Floor:
as many real pictures.
"""

import argparse
import json
import re
import statistics
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.classifier import JUDGE, predict
from training.__main__ import main as training
from training.config import load_config
from training.data import DataConfig, LabelledImages, load_labelled
from training.data.idx import stacked
from training.metrics.cache import trained_classifier
from training.metrics.draw import draw
from training.metrics.mode_count import ModeCount, mode_count
from training.publish import average_of
from training.run_dir import RunDir

PICTURES, MODES = 26_000, 1000
CONFIG = "stacked-mnist"
TECHNIQUES = Path(__file__).with_name("techniques.toml")


@dataclass(frozen=True)
class Found:
    """What a run's pictures show, or as many real ones."""

    count: ModeCount
    cpu_minutes: float = 0.0


def rows() -> dict[str, list[str]]:
    """What each row sets, as `training run` takes it."""
    told = tomllib.loads(TECHNIQUES.read_text())
    return {name: [*told["base"], *switches] for name, switches in told["switches"].items()}


def run_of(name: str, overrides: list[str], seed: int, images: int) -> RunDir:
    """A finished run of a row."""
    folder = f"{CONFIG}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}-{seed}"
    run = RunDir(Path("runs", folder))
    if not run.about() or run.images_seen() < images:
        own = [f"name={folder}", f"seed={seed}", f"total_images={images}", "device.threads=1"]
        status = training(["run", CONFIG, *overrides, *own])
        if status:
            raise SystemExit(status)
    return run


def digits_of(images: Tensor, reader: torch.nn.Module) -> Tensor:
    """The modes (N,) of pictures uint8 (N, 3, H, W): three digits, read one by one."""
    red, green, blue = (predict(reader, images[:, i : i + 1]).labels for i in range(3))
    return 100 * red + 10 * green + blue


def parts(run: RunDir) -> Iterator[Tensor]:
    """Pictures of a run's averaged generator, from seeds 0, 1, 2, …"""
    return draw(average_of(run, Path("models/zoo")).checkpoint, range(PICTURES), None)


def reader_of(data: DataConfig) -> torch.nn.Module:
    """A classifier of single digits, at the size of the stacked ones."""
    single = data.model_copy(update={"stacked": False})
    train, test = load_labelled(single, "train"), load_labelled(single, "test")
    return trained_classifier(train, test, recipe=JUDGE, seed=1, mirror=False, progress=lambda what, _: None).network


def real(data: DataConfig) -> LabelledImages:
    """Real pictures that no run has seen."""
    return stacked(load_labelled(data.model_copy(update={"stacked": False}), "test").images, "train")


def row(name: str, found: list[Found]) -> str:
    """A line of the table: means, and deviations where there are several seeds."""
    cells = []
    for key, form in (("modes", ".1f"), ("fair", ".1f"), ("kl", ".3f"), ("tv", ".3f"), ("cpu_minutes", ".1f")):
        values = [float((asdict(one.count) | {"cpu_minutes": one.cpu_minutes})[key]) for one in found]
        spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
        cells.append(f"{statistics.fmean(values):{form}}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Trains, counts, and prints a table."""
    known = rows()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacked_mnist", description=__doc__)
    parser.add_argument("--rows", nargs="+", default=list(known), choices=list(known), metavar="NAME", help="only these")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=load_config(Path(CONFIG)).total_images, help="that each run is shown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_config(Path(CONFIG)).data
    reader = reader_of(data)
    found = {"real pictures": [Found(mode_count(digits_of(real(data).images[:PICTURES], reader), MODES))]}
    for name in options.rows:
        runs = [run_of(name, known[name], seed, options.images) for seed in range(options.seeds)]
        found[name] = [
            Found(mode_count(digits_of(torch.cat(list(parts(run))), reader), MODES), run.cpu_seconds() / 60) for run in runs
        ]
    print(f"| {PICTURES:,} pictures of | modes of {MODES:,} | half as often as fair | KL, nats | total variation | CPU min |")
    print("|---" * 6 + "|")
    for name, seeds in found.items():
        print(row(name, seeds))
    told = {name: [asdict(one.count) | {"cpu_minutes": one.cpu_minutes} for one in seeds] for name, seeds in found.items()}
    Path("runs/stacked-mnist.json").write_text(json.dumps({"images": options.images, "found": told}, indent=2))


if __name__ == "__main__":
    main()
