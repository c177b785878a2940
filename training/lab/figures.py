"""What studies look like: one panel a variant, and measures as a dot a seed."""

import io
import logging
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.lab.distributions import Mixture, make_target
from training.lab.experiment import Outcome

mpl.use("Agg")  # no screen is needed
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells of each font that is not there

REAL, FAKE, FAINT = "#1b6ca8", "#d1495b", "#8d99ae"
BINS = 80
Results = Mapping[str, Outcome]


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes, in few colours: it is to be committed."""
    from PIL import Image  # noqa: PLC0415

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    small = io.BytesIO()
    Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
    return small.getvalue()


def panels(count: int, columns: int, width: float, height: float, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with that many panels in rows of `columns`."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(columns * width, rows * height + 0.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def densities(title: str, results: Results) -> Figure:
    """On a line: the density of every seed's points, over the true one."""
    figure, axes = panels(len(results), 4, 3.2, 2.2, title)
    for panel, (label, outcome) in zip(axes, results.items(), strict=True):
        draw_line(panel, outcome.config.target, outcome.samples)
        w1 = outcome.final["w1"]
        panel.set_title(f"{label}\nW1 {np.mean(w1):.3f} ± {np.std(w1):.3f}", fontsize="small")
    return figure


def draw_line(panel: Axes, target_config: object, samples: np.ndarray) -> None:
    """Densities of generated points (seeds, N, 1) and the true one."""
    target = make_target(target_config)  # type: ignore[arg-type]
    assert isinstance(target, Mixture)
    edges = np.linspace(target.centre - target.reach, target.centre + target.reach, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    truth = target.density(middles)
    panel.fill_between(middles, truth, color=REAL, alpha=0.25, linewidth=0)
    for points in samples:
        heights, _ = np.histogram(points[:, 0], edges)
        panel.plot(middles, heights / len(points) / (edges[1] - edges[0]), color=FAKE, linewidth=0.7, alpha=0.6)
    panel.set_ylim(0, 2.2 * truth.max())
    panel.set_yticks([])
    panel.tick_params(labelsize="x-small")


def scatters(title: str, results: Results, columns: int = 6) -> Figure:
    """In the plane: the points of the seed in the middle by quality, over real ones."""
    figure, axes = panels(len(results), columns, 2.0, 2.4, title)
    for panel, (label, outcome) in zip(axes, results.items(), strict=True):
        middle = int(np.argsort(outcome.final["quality"])[len(outcome.seeds) // 2])
        draw_plane(panel, outcome.config.target, outcome.samples[middle][:2000])
        modes, quality = outcome.final["modes"].mean(), outcome.final["quality"].mean()
        panel.set_title(f"{label}\n{modes:.1f} modes, {quality:.0%} good", fontsize="small")
    return figure


def draw_plane(panel: Axes, target_config: object, points: np.ndarray) -> None:
    """Generated points (N, 2) over as many real ones."""
    target = make_target(target_config)  # type: ignore[arg-type]
    real = target.sample(len(points), torch.Generator().manual_seed(0)).numpy()
    panel.plot(real[:, 0], real[:, 1], ".", color=REAL, markersize=1.5, alpha=0.4)
    panel.plot(points[:, 0], points[:, 1], ".", color=FAKE, markersize=1.2, alpha=0.5)
    panel.set_xlim(-target.reach, target.reach)
    panel.set_ylim(-target.reach, target.reach)
    panel.set_aspect("equal")
    panel.set_xticks([])
    panel.set_yticks([])


def dots(title: str, values: Mapping[str, Mapping[str, Sequence[float]]], logarithmic: Sequence[str] = ()) -> Figure:
    """A panel for each measure: a row for each variant, a dot for each seed, a bar at the mean."""
    rows = len(next(iter(values.values())))
    figure = Figure(figsize=(2.0 + 2.6 * len(values), 0.9 + 0.24 * rows), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    for i, (measure, variants) in enumerate(values.items()):
        panel = figure.add_subplot(1, len(values), i + 1)
        for row, (_, seeds) in enumerate(variants.items()):
            spread = np.linspace(-0.22, 0.22, len(seeds)) if len(seeds) > 1 else np.zeros(1)
            panel.plot(seeds, row + spread, ".", color=FAINT, markersize=4)
            panel.plot([np.mean(seeds)] * 2, [row - 0.35, row + 0.35], color=FAKE, linewidth=2)
        panel.set_yticks(range(rows), list(variants) if i == 0 else [""] * rows, fontsize="x-small")
        panel.invert_yaxis()
        panel.set_xlabel(measure, fontsize="small")
        panel.tick_params(axis="x", labelsize="x-small")
        panel.grid(axis="x", alpha=0.3)
        if measure in logarithmic:
            panel.set_xscale("log")
    return figure


def traces(title: str, results: Results, names: Sequence[str], seed: int = 0) -> Figure:
    """How measures of one seed go over the steps: a row for each measure, a column for each variant."""
    figure = Figure(figsize=(3.2 * len(results), 1.5 * len(names) + 0.6), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    for column, (label, outcome) in enumerate(results.items()):
        for row, name in enumerate(names):
            panel = figure.add_subplot(len(names), len(results), row * len(results) + column + 1)
            panel.plot(outcome.trace["step"], outcome.trace[name][:, seed], color=FAKE, linewidth=0.8)
            panel.tick_params(labelsize="x-small")
            panel.grid(alpha=0.3)
            if row == 0:
                panel.set_title(label, fontsize="small")
            if column == 0:
                panel.set_ylabel(name, fontsize="small")
    return figure
