"""`python -m benchmarks.stacked_mnist`: of a thousand modes, how many does each preset find, and how evenly?

Stacked MNIST, as Metz et al. 2016, VEEGAN and PacGAN count: 26,000 generated pictures of three digits, each read by a
classifier of single ones; a mode counts if it is drawn once. Beside that, what is harder: modes drawn at least half as often
as they should be. The presets differ in the loss alone: same networks, same number of pictures. Trains what has not been
trained yet (a killed one goes on), prints a table, and writes `runs/stacked-mnist.json`. Floor: as many real pictures.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict
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
PRESETS: dict[str, tuple[str, ...]] = {
    "minimax": ("loss.adversarial=minimax", "loss.r1=0", "loss.r2=0"),
    "non-saturating": ("loss.adversarial=non-saturating", "loss.r1=0", "loss.r2=0"),
    "packs of 2": ("loss.adversarial=non-saturating", "loss.r1=0", "loss.r2=0", "stabilisers.pack=2"),
    "unrolled 5": ("loss.adversarial=non-saturating", "loss.r1=0", "loss.r2=0", "stabilisers.unrolled_steps=5"),
    "wasserstein, gradient penalty": (
        "loss.adversarial=wasserstein", "loss.r1=0", "loss.r2=0", "loss.gradient_penalty=10", "loss.penalty_every=1",
    ),
    "non-saturating, R1": ("loss.adversarial=non-saturating", "loss.r1=0.5", "loss.r2=0"),
    "relativistic, R1 and R2 (default)": ("loss.r1=0.5", "loss.r2=0.5"),
}  # fmt: skip


def run_of(preset: str, seed: int, images: int) -> RunDir:
    """A finished run of a preset."""
    name = f"{CONFIG}-{'-'.join(preset.replace(',', '').replace('(', '').replace(')', '').split())}-{seed}".lower()
    run = RunDir(Path("runs", name))
    if not run.about() or run.images_seen() < images:
        status = training(["run", CONFIG, f"name={name}", f"seed={seed}", f"total_images={images}", *PRESETS[preset]])
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


def row(name: str, counts: list[ModeCount]) -> str:
    """A line of the table: means, and deviations where there are several seeds."""
    cells = []
    for key, form in (("modes", ".1f"), ("fair", ".1f"), ("kl", ".3f"), ("tv", ".3f")):
        values = [float(asdict(count)[key]) for count in counts]
        spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
        cells.append(f"{statistics.fmean(values):{form}}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Trains, counts, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacked_mnist", description=__doc__)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=load_config(Path(CONFIG)).total_images, help="that each run is shown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_config(Path(CONFIG)).data
    reader = reader_of(data)
    found = {"real pictures": [mode_count(digits_of(real(data).images[:PICTURES], reader), MODES)]}
    for preset in options.presets:
        runs = [run_of(preset, seed, options.images) for seed in range(options.seeds)]
        found[preset] = [mode_count(digits_of(torch.cat(list(parts(run))), reader), MODES) for run in runs]
    print(f"| {PICTURES:,} pictures of | modes of {MODES:,} | drawn half as often as fair | KL, nats | total variation |")
    print("|---" * 5 + "|")
    for name, counts in found.items():
        print(row(name, counts))
    told = {name: [asdict(count) for count in counts] for name, counts in found.items()}
    Path("runs/stacked-mnist.json").write_text(json.dumps({"images": options.images, "found": told}, indent=2))


if __name__ == "__main__":
    main()
