"""The film of a run's folder: its sample sheets beside real pictures, the discriminator's logits, and both losses."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from matplotlib.axes import Axes
from PIL import Image

from models.families import family_named
from models.pixels import to_uint8
from training.config import ConfigError
from training.data import load
from training.film import LOSSES, frame
from training.pictures import tile
from training.run_dir import RunDir

GAP = 4  # px between real and generated pictures
LOGITS = {"logits/real": "#1b6ca8", "logits/fake": "#d1495b"}


def film_of(run: RunDir, since: int = -1) -> Iterator[Image.Image]:
    """A frame for each sample sheet of more than `since` images. Raises `ConfigError` where there are none, `DataError`.

    Real pictures stand beside the sheets of models that draw from latents; other models' sheets show them already.
    """
    config, stats = run.config(), run.stats()
    sheets = sorted(run.samples.glob("*.png"))
    if not sheets:
        raise ConfigError(f"{run.path} has no sample sheets yet; the first one comes after snapshots.every_images pictures")
    real: Image.Image | None = None
    for path in sheets:
        images = int(path.stem)
        if images <= since:
            continue
        made = Image.open(path).convert("RGB")
        if real is None and family_named(config.family).from_latents:
            real = _real_pictures(run, made.size)
        shown = _beside(real, made) if real else made
        so_far = [line for line in stats if line["images"] <= images]
        yield frame(
            f"{config.name}, {images:,} of {config.total_images:,} pictures",
            lambda panel, shown=shown: _show(panel, shown),  # type: ignore[misc]
            lambda panel, so_far=so_far: _curves(panel, so_far, config.total_images),  # type: ignore[misc]
            {name: _line(so_far, key) for name, key in zip(LOSSES, ("loss/d", "loss/g"), strict=True)},
            config.total_images,
        )


def _real_pictures(run: RunDir, size: tuple[int, int]) -> Image.Image:
    """A sheet of the first training pictures, of the same size as a sheet of generated ones."""
    data = load(run.config().data, "train")
    first, *_ = data.batch(torch.arange(1), mirror=False)
    columns, rows = max(1, size[0] // first.shape[-1]), max(1, size[1] // first.shape[-2])
    pictures, *_ = data.batch(torch.arange(min(columns * rows, len(data))), mirror=False)
    return tile(to_uint8(pictures), columns).convert("RGB")


def _beside(real: Image.Image, made: Image.Image) -> Image.Image:
    """Real pictures over generated ones, or beside them where sheets are upright."""
    upright = made.height > made.width
    width, height = made.size
    both = Image.new("RGB", (2 * width + GAP, height) if upright else (width, 2 * height + GAP), "white")
    both.paste(real, (0, 0))
    both.paste(made, (width + GAP, 0) if upright else (0, height + GAP))
    return both


def _show(panel: Axes, picture: Image.Image) -> None:
    panel.imshow(picture, interpolation="nearest")
    panel.axis("off")


def _line(stats: Sequence[Mapping[str, float]], key: str) -> tuple[list[float], list[float]]:
    lines = [line for line in stats if key in line]
    return [line["images"] for line in lines], [line[key] for line in lines]


def _curves(panel: Axes, stats: Sequence[Mapping[str, float]], end: int) -> None:
    """What the discriminator says of real and of generated pictures, on average over a batch."""
    for key, color in LOGITS.items():
        panel.plot(*_line(stats, key), color=color, linewidth=1, label=key)
    panel.set_xlim(0, end)
    panel.legend(fontsize="x-small")
    panel.grid(alpha=0.3)
