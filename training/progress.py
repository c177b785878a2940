"""Long work shown to a person: bars with rates and ETAs on a terminal, plain lines with the same where there is none."""

import logging
import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from training import journal

log = logging.getLogger(__name__)
LINE_EVERY_S = 30.0  # between two lines where no bar can be drawn


def duration(seconds: float) -> str:
    """Seconds as 1:02:03."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}"


class _Bar:
    """A bar for as long as it is entered; draws nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            disable=not sys.stderr.isatty(),
        )
        self.last_line = 0.0
        self.stages: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def stage(self, stage: str, done: float) -> None:
        """Shows how much of a stage is done, 0 … 1."""
        if stage not in self.stages:
            self.stages[stage] = self.bar.add_task(stage, total=100, note="")
        self.bar.update(self.stages[stage], completed=round(100 * done))
        self.line(f"{stage}: {done:.0%}", now=done >= 1)

    def line(self, text: str, *, now: bool) -> None:
        """Logs a line if there is no bar and it is time for one, or `now`."""
        if self.bar.disable and (now or time.monotonic() - self.last_line >= LINE_EVERY_S):
            self.last_line = time.monotonic()
            log.info("%s", text)

    def say(self, text: str) -> None:
        """Shows a text of its own, above the bar if there is one."""
        if self.bar.disable:
            log.info("%s", text)
        else:
            self.bar.console.print(text, markup=False, highlight=False)


class TrainingProgress(_Bar):
    """Images seen, images a second, time left."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.task: TaskID | None = None

    def report(self, at: journal.Progress) -> None:
        """Shows where a run is, and what the doctor has found."""
        if at.finding is not None:
            self.say(at.finding)
        if self.task is None:
            self.task = self.bar.add_task(self.name, total=at.total_images, note="")
        self.bar.update(self.task, completed=at.images_seen, note=f"{at.images_per_second:.0f} images/s")
        left = duration((at.total_images - at.images_seen) / at.images_per_second)
        losses = " ".join(f"{name}={value:.3f}" for name, value in at.stats.items() if name.startswith("loss/"))
        seen = f"{at.images_seen:,} of {at.total_images:,} images, {at.images_per_second:.0f} images/s"
        self.line(f"{self.name}: {seen}, {left} left, {losses}", now=at.images_seen >= at.total_images)


class EvaluationProgress(_Bar):
    """A bar for each stage of a measurement; callable as `models.progress.Progress`."""

    def __call__(self, stage: str, done: float) -> None:
        self.stage(stage, done)
