"""The film of an experiment: the first seed's points, its discriminator as a curve or a map, and both losses."""

import numpy as np
import torch
from matplotlib.axes import Axes
from PIL import Image

from training.film import frame
from training.lab import figures
from training.lab.experiment import Experiment, Moment

LINE, SIDE = 200, 60  # points of the curve, and of a side of the map


class Camera:
    """Takes a frame of an experiment at every moment that it is shown."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.steps: list[float] = []
        self.losses: dict[str, list[float]] = {"loss_d": [], "loss_g": []}

    def take(self, moment: Moment) -> Image.Image:
        """The frame of a moment, with the losses of those before."""
        self.steps.append(moment.step)
        for name, values in self.losses.items():
            values.append(float(moment.scalars[name][0]))
        config, target = self.experiment.config, self.experiment.target
        draw = figures.draw_line if target.dimensions == 1 else figures.draw_plane
        points = moment.samples[:1] if target.dimensions == 1 else moment.samples[0]
        return frame(
            f"{config.target.kind}, {config.loss.adversarial}, step {moment.step:,} of {config.steps:,}",
            lambda panel: draw(panel, config.target, points),
            self._curve if target.dimensions == 1 else self._map,
            {"loss of D": (self.steps, self.losses["loss_d"]), "loss of G": (self.steps, self.losses["loss_g"])},
            config.steps,
        )

    def _says(self, x: torch.Tensor) -> np.ndarray:
        """What the first seed's discriminator says of points (N, D), each in a pack of its own: (N,)."""
        packs = x.repeat_interleave(self.experiment.config.stabilisers.pack, dim=0)
        said: np.ndarray = self.experiment.logits(packs.expand(len(self.experiment.seeds), -1, -1))[0].numpy()
        return said

    def _curve(self, panel: Axes) -> None:
        target = self.experiment.target
        x = torch.linspace(target.centre - target.reach, target.centre + target.reach, LINE)
        panel.plot(x, self._says(x[:, None]), color="#333333", linewidth=1)
        panel.grid(alpha=0.3)

    def _map(self, panel: Axes) -> None:
        reach = self.experiment.target.reach
        line = torch.linspace(-reach, reach, SIDE)
        said = self._says(torch.cartesian_prod(line, line)).reshape(SIDE, SIDE).T
        panel.imshow(said, origin="lower", extent=(-reach, reach, -reach, reach), cmap="RdBu")
        panel.set_xticks([])
        panel.set_yticks([])
