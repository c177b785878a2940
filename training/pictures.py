"""Pictures for people: sample sheets and loss curves."""

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from models.codes import along, middle_of
from models.families.infogan import InfoGanHParams
from models.family import LatentHParams
from models.latents import latents, one_hot
from models.pixels import to_uint8

WAYS = 3  # rows of a sheet that show what one continuous code does

mpl.use("Agg")  # no screen is needed


def spread(count: int, items: int) -> Tensor:
    """Up to `count` of `items` pictures, evenly spread: what lies side by side in a data set is often alike. (n,) indices."""
    return torch.linspace(0, items - 1, min(count, items), dtype=torch.float64).round().long()


def draw(
    generator: nn.Module, hparams: LatentHParams, seeds: Sequence[int], labels: Sequence[int], beside: Sequence[Any] = ()
) -> Tensor:
    """Pictures of these seeds (and, for label-conditional families, labels): uint8 (len(seeds), H, W, C) on the CPU.

    `beside`: what else the generator is to be given.
    """
    y = [one_hot(labels, hparams.classes)] if hparams.classes else []
    return draw_latents(generator, latents(seeds, hparams.z_dim), *y, beside=beside)


@torch.inference_mode()
def draw_latents(generator: nn.Module, *inputs: Tensor, beside: Sequence[Any] = ()) -> Tensor:
    """Pictures of latents (n, z_dim), and of class weights where it takes any: uint8 (n, H, W, C) on the CPU."""
    device = next(generator.parameters()).device
    return to_uint8(generator(*(x.to(device) for x in inputs), *beside)).cpu()


def tile(pictures: Tensor, columns: int) -> Image.Image:
    """A contact sheet of uint8 pictures (N, H, W, C), row by row."""
    count, height, width, channels = pictures.shape
    sheet = Image.new("L" if channels == 1 else "RGB", (columns * width, math.ceil(count / columns) * height))
    for i, picture in enumerate(pictures):
        array = picture.squeeze(2).numpy() if channels == 1 else picture.numpy()
        sheet.paste(Image.fromarray(array), (i % columns * width, i // columns * height))
    return sheet


def png(image: Image.Image) -> bytes:
    """An image as PNG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def draw_sheet(generator: nn.Module, hparams: LatentHParams, columns: int, rows: int, beside: Sequence[Any] = ()) -> bytes:
    """A PNG of the same latents every time: seed 0 upwards, a row for each class (or `rows` rows where there are none).

    Each row of a label-conditional model has the same seeds, so that a column shows one latent in every class. Pictures of a
    network that has not grown to `hparams.resolution` yet are enlarged, pixel by pixel.
    """
    if hparams.classes:
        rows = min(hparams.classes, 64)
        seeds = list(range(columns)) * rows
        labels = [row for row in range(rows) for _ in range(columns)]
    else:
        seeds, labels = list(range(columns * rows)), []
    batches = [draw(generator, hparams, seeds[i : i + 64], labels[i : i + 64], beside) for i in range(0, len(seeds), 64)]
    pictures = torch.cat(batches)
    times = hparams.resolution // pictures.shape[1]
    return png(tile(pictures.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2), columns))


def draw_codes(generator: nn.Module, hparams: InfoGanHParams, columns: int) -> bytes:
    """A PNG of what an InfoGAN's codes do: a row for each category, of seed 0 upwards; then the ways of the continuous codes.

    Each of them goes from -1 to 1, in `WAYS` rows of one seed each.
    """
    z = latents(range(columns), hparams.z_dim)
    first = hparams.noise_dim
    rows = []
    for index in range(hparams.categories):
        rows.append(z.clone())
        rows[-1][:, first] = middle_of(index, hparams.categories)
    degrees = torch.tensor([along(-1 + 2 * i / max(1, columns - 1)) for i in range(columns)])
    for code in range(hparams.continuous):
        for seed in range(WAYS):
            rows.append(z[seed : seed + 1].repeat(columns, 1))
            rows[-1][:, first + 1 + code] = degrees
    return png(tile(torch.cat([draw_latents(generator, row) for row in rows]), columns))


def draw_curves(stats: Sequence[dict[str, float]], title: str) -> bytes:
    """A PNG of every logged scalar over images seen: losses, logits, penalties, speed."""
    about = {"step", "images", "seconds", "cpu_seconds"}
    names = sorted({name for line in stats for name in line} - about)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split("/")[0], []).append(name)
    figure = Figure(figsize=(10, 2.2 * max(len(groups), 1)), layout="constrained")
    figure.suptitle(title)
    for i, (group, members) in enumerate(groups.items()):
        axes = figure.add_subplot(len(groups), 1, i + 1)
        for name in members:
            points = [(line["images"], line[name]) for line in stats if name in line]
            x, y = zip(*points, strict=True)
            axes.plot(x, y, linewidth=0.8, label=name)
        axes.set_ylabel(group)
        axes.legend(loc="upper right", fontsize="small")
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
