"""What a run writes down: statistics, findings, sample sheets, curves, and the state from which it can go on."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from training.config import TrainConfig
from training.data import TrainingData
from training.doctor import advice
from training.doctor.findings import Doctor, Finding, broken
from training.doctor.rollback import difference, gentler
from training.doctor.signals import look
from training.pictures import draw_curves
from training.recipe import Recipe
from training.run_dir import RunDir, replace_file

FROM_BEFORE = "The last saved state is from before. Begin again under another name"


class DivergedError(Exception):
    """A loss is no longer a finite number, or the doctor stops the run. The message says what to try."""


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    images_seen: int
    total_images: int
    images_per_second: float  # since this process took over
    stats: dict[str, float]
    finding: str | None = None  # of the doctor, to be told now


@dataclass(frozen=True)
class Sitting:
    """Where this process took the run over, and on what hardware."""

    hardware: str
    step: int
    images_seen: int
    seconds: float  # of all earlier sittings
    cpu_seconds: float  # likewise, of this process: what a run costs beside other work


def log_due(config: TrainConfig, step: int, images_seen: int) -> bool:
    """Whether a line of statistics is written, and the doctor looks, after a step."""
    return images_seen >= config.total_images or step % config.snapshots.log_every_steps == 0


class Journal:
    """Kept by the process of rank 0. Nothing in it changes what the weights become, but for `on_collapse = "rollback"`."""

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
        self.may_return = config.on_collapse == "rollback"
        self.rolled_back = False
        run.forget_after(sitting.step)
        # what it finds is a function of the lines that a restart finds again
        self.doctor = Doctor(gentler(config, len(run.rollbacks())), run.stats())
        if self.may_return and not run.good_file.exists():
            self._save(sitting.step, sitting.images_seen, good=True)

    def after_step(self, step: int, images_seen: int, factor: float, stats: Mapping[str, Tensor]) -> None:
        """Does what is due after a step. Raises `DivergedError`."""
        every = self.config.snapshots
        done, logs = images_seen >= self.config.total_images, log_due(self.config, step, images_seen)
        crossed = images_seen // every.every_images > (images_seen - self.config.batch) // every.every_images
        save_due = done or time.monotonic() - self.saved >= every.save_every_s
        if not (logs or save_due or crossed):
            return
        scalars = {name: value.item() for name, value in stats.items()}
        if not logs and (names := broken(scalars)):
            if self.may_return:
                return  # the next look leads back; until then nothing may replace what is good
            raise DivergedError(f"{advice.no_number(names, self.config)}.\n{FROM_BEFORE}")
        speed = (images_seen - self.sitting.images_seen) / (time.monotonic() - self.started)
        told: Finding | None = None
        if logs:
            about = {"step": step, "images": images_seen, "images_per_second": round(speed, 1)}
            about |= {"seconds": round(self.seconds, 1), "cpu_seconds": round(self.cpu_seconds, 1)}
            line = {**about, "learning_rate_factor": factor, **scalars, **look(self.recipe)}
            told = self.doctor.examine(line)
            if told is not None:
                self._act_on(told, step, images_seen, speed)
            if self.rolled_back:
                return
            self.run.add_stats(line)
        if self.may_return and crossed and self.doctor.well:
            self._save(step, images_seen, good=True)
        if crossed or done:
            self.draw(images_seen)
        if save_due:
            self._save(step, images_seen)
            self.saved = time.monotonic()
        self.report(Progress(images_seen, self.config.total_images, speed, scalars, told.text if told else None))

    @property
    def seconds(self) -> float:
        """Of this sitting and all earlier ones."""
        return self.sitting.seconds + time.monotonic() - self.started

    @property
    def cpu_seconds(self) -> float:
        """Likewise, of this process's processor time."""
        return self.sitting.cpu_seconds + time.process_time() - self.cpu_started

    def draw(self, images_seen: int) -> None:
        """The same pictures as at every snapshot, and the curves so far."""
        sheet = self.recipe.preview(self.data, self.config.snapshots)
        replace_file(self.run.samples / f"{images_seen:010d}.png", sheet)
        if stats := self.run.stats():
            replace_file(self.run.curves_file, draw_curves(stats, self.config.name))

    def _save(self, step: int, images_seen: int, *, good: bool = False) -> None:
        self.run.save_state(
            self.recipe, step=step, images_seen=images_seen, seconds=self.seconds, cpu_seconds=self.cpu_seconds,
            hardware=self.sitting.hardware, good=good,
        )  # fmt: skip

    def _act_on(self, found: Finding, step: int, images_seen: int, speed: float) -> None:
        """Writes a finding down; then nothing follows, or the end, or a rollback. Raises `DivergedError`."""
        mode, past = self.config.on_collapse, len(self.run.rollbacks())
        where = {"step": step, "images": images_seen, "rollbacks": past}
        self.run.add_finding({**where, "finding": found.name, "text": found.text})
        if mode == "stop":
            raise DivergedError(f'{found.text}.\nThe run stops here, after {images_seen:,} images: on_collapse = "stop"')
        if mode == "warn" and found.name == "no number":
            raise DivergedError(f"{found.text}.\n{FROM_BEFORE}")
        if mode == "warn" or not found.curable:
            return
        if past == self.config.rollbacks:
            raise DivergedError(
                f"{found.text}.\nThe run stops here, after {images_seen:,} images and {past} rollbacks, which did not help. "
                f"Begin again under another name with what is advised above"
            )
        changed = difference(gentler(self.config, past), gentler(self.config, past + 1))
        spent = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        self.run.roll_back(images_seen=images_seen, spent=spent, changed=changed, because=found.name)
        self.rolled_back = True
        back = self.run.images_seen()
        settings = ", ".join(f"{key}={new:g} (was {old:g})" for key, (old, new) in changed.items())
        text = f"{found.text}.\nBack to the good state of {back:,} images, and on with {settings}"
        self.report(Progress(back, self.config.total_images, speed, {}, text))
