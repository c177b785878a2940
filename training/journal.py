"""What a run writes down: statistics, sample sheets, curves, and the state from which it can go on."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from training.config import TrainConfig
from training.data import TrainingData
from training.pictures import draw_curves
from training.recipe import Recipe
from training.run_dir import RunDir, replace_file


class DivergedError(Exception):
    """A loss is no longer a finite number. The message says what to try."""


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    images_seen: int
    total_images: int
    images_per_second: float  # since this process took over
    stats: dict[str, float]


@dataclass(frozen=True)
class Sitting:
    """Where this process took the run over, and on what hardware."""

    hardware: str
    step: int
    images_seen: int
    seconds: float  # of all earlier sittings
    cpu_seconds: float  # likewise, of this process: what a run costs beside other work


class Journal:
    """Kept by the process of rank 0. Nothing in it changes what the weights become."""

    def __init__(
        self,
        run: RunDir,
        config: TrainConfig,
        recipe: Recipe,
        data: TrainingData,
        report: Callable[[Progress], None],
        sitting: Sitting,
    ) -> None:
        self.run, self.config, self.recipe, self.data, self.report = run, config, recipe, data, report
        self.sitting = sitting
        self.started = self.saved = time.monotonic()
        self.cpu_started = time.process_time()
        run.forget_stats_after(sitting.step)

    def after_step(self, step: int, images_seen: int, factor: float, stats: Mapping[str, Tensor]) -> None:
        """Does what is due after a step. Raises `DivergedError`."""
        every = self.config.snapshots
        done = images_seen >= self.config.total_images
        crossed = images_seen // every.every_images > (images_seen - self.config.batch) // every.every_images
        log_due = done or step % every.log_every_steps == 0
        save_due = done or time.monotonic() - self.saved >= every.save_every_s
        if not (log_due or save_due or crossed):
            return
        scalars = check_finite({name: value.item() for name, value in stats.items()}, images_seen)
        elapsed = time.monotonic() - self.started
        seconds, speed = self.sitting.seconds + elapsed, (images_seen - self.sitting.images_seen) / elapsed
        cpu_seconds = self.sitting.cpu_seconds + time.process_time() - self.cpu_started
        if log_due:
            about = {"step": step, "images": images_seen, "images_per_second": round(speed, 1)}
            spent = {"seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1)}
            self.run.add_stats({**about, **spent, "learning_rate_factor": factor, **scalars})
        if crossed or done:
            self.draw(images_seen)
        if save_due:
            self.run.save_state(
                self.recipe, step=step, images_seen=images_seen, seconds=seconds, cpu_seconds=cpu_seconds,
                hardware=self.sitting.hardware,
            )  # fmt: skip
            self.saved = time.monotonic()
        self.report(Progress(images_seen, self.config.total_images, speed, scalars))

    def draw(self, images_seen: int) -> None:
        """The same pictures as at every snapshot, and the curves so far."""
        sheet = self.recipe.preview(self.data, self.config.snapshots)
        replace_file(self.run.samples / f"{images_seen:010d}.png", sheet)
        if stats := self.run.stats():
            replace_file(self.run.curves_file, draw_curves(stats, self.config.name))


def check_finite(scalars: dict[str, float], images_seen: int) -> dict[str, float]:
    """Gives the scalars back, or raises `DivergedError` before a broken state could replace a good one."""
    for name, value in scalars.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"{name} is {value} after {images_seen} images: training has diverged. The last saved state is from before. "
                f"Lower optimizer.learning_rate or raise loss.r1 and loss.r2, and begin again under another name"
            )
    return scalars
