"""The film of a run: real and generated samples, what the discriminator makes of them, and both losses, frame by frame.

Four panels as in the introductory text that this project grew from. A frame is a picture, so the same film goes into a file,
a notebook, or, in coloured half blocks, a terminal.
"""

import io
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from training.config import ConfigError

mpl.use("Agg")  # no screen is needed

FRAME_MS = 100
LAST_MS = 2000  # the end stays for a look
FORMATS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
LOSSES = {"loss of D": "#1b6ca8", "loss of G": "#d1495b"}


def frame(
    title: str,
    samples: Callable[[Axes], None],
    judgement: Callable[[Axes], None],
    losses: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    end: float,
) -> Image.Image:
    """One picture of four panels: what `samples` and `judgement` draw, and a curve (x, y) so far for each of two losses.

    `end`: where the x axis of the curves ends, so that they grow across the film.
    """
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    for place, (name, draw) in enumerate({"real and generated": samples, "the discriminator": judgement}.items(), 1):
        panel = figure.add_subplot(2, 2, place)
        panel.set_title(name, fontsize="small")
        panel.tick_params(labelsize="x-small")
        draw(panel)
    for place, (name, (x, y)) in enumerate(losses.items(), 3):
        panel = figure.add_subplot(2, 2, place)
        panel.set_title(name, fontsize="small")
        panel.plot(x, y, color=LOSSES.get(name, "#333333"), linewidth=1)
        panel.set_xlim(0, end)
        panel.tick_params(labelsize="x-small")
        panel.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return Image.open(buffer).convert("RGB")


def save_film(frames: Sequence[Image.Image], path: Path) -> None:
    """Writes frames as an animated GIF, WebP or PNG, by the name's ending. Raises `ConfigError` for others, or no frames."""
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"a film is a {', '.join(FORMATS)} file, and {path} is none; other programs make MP4 of any of them")
    if not frames:
        raise ConfigError(f"there is nothing to film yet, so {path} was not written")
    first, *rest = frames
    if kind == "GIF":  # one palette for all: a palette a frame flickers
        first = first.quantize(64, dither=Image.Dither.NONE)
        rest = [image.quantize(palette=first, dither=Image.Dither.NONE) for image in rest]
    durations = [FRAME_MS] * len(rest) + [LAST_MS]
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, format=kind, save_all=True, append_images=rest, duration=durations, loop=0)


class Live:
    """Shows frames as they come: in place in a notebook, else as coloured half blocks in the terminal."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = False

    def __call__(self, image: Image.Image) -> None:
        notebook = sys.modules.get("IPython")
        if notebook is not None and notebook.get_ipython() is not None:
            self._handle = self._in_notebook(image)
            return
        columns, rows = shutil.get_terminal_size()
        text = half_blocks(image, columns, rows - 1)
        sys.stdout.write(("\x1b[H" if self._shown else "\x1b[2J\x1b[H") + text + "\x1b[0m\n")
        sys.stdout.flush()
        self._shown = True

    def _in_notebook(self, image: Image.Image) -> Any:
        display: Any = sys.modules["IPython"].display
        if self._handle is None:
            return display.display(image, display_id=True)
        self._handle.update(image)
        return self._handle


def half_blocks(image: Image.Image, columns: int, rows: int) -> str:
    """A picture as text for a terminal with 24-bit colour: each character is two pixels, one above the other."""
    scale = min(columns / image.width, 2 * rows / image.height)
    width, height = max(1, round(image.width * scale)), max(2, round(image.height * scale / 2) * 2)
    pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a};{b};{c}m\x1b[48;2;{d};{e};{f}m▀"
            for (a, b, c), (d, e, f) in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)
