"""`python -m benchmarks.lessons`: what DCGAN's paper showed of its networks, with numbers.

Of a run of `products`: walks between latents; arithmetic on them by named attributes; what a discriminator's filters look for,
and how much a linear classifier learns from them, trained against random. Attributes are read by classifiers of real pictures,
of which one finds and another judges. Writes `runs/lessons.json` and pictures into `runs/lessons/`.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.lessons.arithmetic import LEARNED_FROM, Draw, added, moved
from benchmarks.lessons.attributes import COLOUR, KIND, readers_of
from benchmarks.lessons.features import probe, probed, seen_by
from benchmarks.lessons.walk import walked
from models.families import family_named
from models.latents import latents
from models.pixels import to_uint8
from training.data import DataConfig, load_labelled
from training.pictures import png, tile
from training.publish import average_of
from training.run_dir import RunDir

FILTERS = 8
SUMS = (("Red", "White"), ("Black", "White"), ("Blue", "Black"))  # of tops, brought to shoes


def drawing(generator: nn.Module) -> Draw:
    """Pictures of latents, in batches."""

    @torch.inference_mode()
    def draw(z: Tensor) -> Tensor:
        return torch.cat([to_uint8(generator(part)).permute(0, 3, 1, 2) for part in torch.split(z, 100)])

    return draw


def numbers(found: Any) -> dict[str, Any]:
    """A result without its pictures."""
    return {k: v for k, v in asdict(found).items() if not isinstance(v, Tensor)}


def sheet(pictures: Tensor, columns: int, path: Path) -> None:
    """Saves pictures uint8 (N, C, H, W), row by row."""
    path.write_bytes(png(tile(pictures.permute(0, 2, 3, 1), columns)))


def of_features(trained: nn.Module, untrained: nn.Module, data: DataConfig, out: Path) -> dict[str, Any]:
    """Filters drawn, and probes of both discriminators and of plain pixels."""
    labelled = data.model_copy(update={"label_column": KIND.column, "labels": KIND.values})
    train, test = load_labelled(labelled, "train"), load_labelled(labelled, "test")
    sheet(torch.cat([seen_by(n, train.images, FILTERS) for n in (trained, untrained)]), FILTERS, out / "filters.png")
    pixels = [nn.functional.avg_pool2d(x.images.float(), 4).flatten(1) for x in (train, test)]
    told = {"pixels": asdict(probe(pixels[0], train.labels, pixels[1], test.labels))}
    for name, network in (("random", untrained), ("trained", trained)):
        told[name] = asdict(probe(probed(network, train.images), train.labels, probed(network, test.images), test.labels))
    return told | {"classes": len(train.label_names), "test_pictures": len(test)}


def main() -> None:
    """Measures everything, and prints it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lessons", description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/products"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = Path("runs/lessons")
    out.mkdir(parents=True, exist_ok=True)
    averaged = average_of(RunDir(options.run), Path("models/zoo"))
    checkpoint, data = averaged.checkpoint, averaged.config.data
    draw, z_dim = drawing(checkpoint.generator), checkpoint.latent.z_dim
    colours, kinds = readers_of(COLOUR, data), readers_of(KIND, data)
    z = latents(range(LEARNED_FROM), z_dim)
    pictures = draw(z)
    found = torch.stack([colours.found(pictures), kinds.found(pictures)])

    walk = walked(draw, z_dim, kinds.finder)
    sheet(walk.pictures.flatten(0, 1), walk.pictures.shape[1], out / "walks.png")
    steps = [moved(i, colours, kinds, draw, z_dim, found[0], z) for i in range(len(COLOUR.values))]
    steps += [moved(i, kinds, colours, draw, z_dim, found[1], z) for i in range(len(KIND.values))]
    sums = []
    for wanted, other in SUMS:
        pair = (COLOUR.values.index(wanted), COLOUR.values.index(other))
        sums.append(added(colours, kinds, pair, (KIND.values.index("Topwear"), KIND.values.index("Shoes")), draw, z, found))
    sheet(torch.cat([s.pictures for s in sums]), 4, out / "arithmetic.png")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = family_named(averaged.config.family).discriminator(checkpoint.hparams).eval()
    features = of_features(checkpoint.extras["discriminator"], untrained, data, out)
    told = {
        "judges": {"colour": colours.accuracy, "kind": kinds.accuracy},
        "walk": numbers(walk), "directions": [asdict(s) for s in steps], "sums": [numbers(s) for s in sums],
        "features": features,
    }  # fmt: skip
    Path("runs/lessons.json").write_text(json.dumps(told, indent=2))
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
