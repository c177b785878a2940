"""Detectors: pure functions of the last lines of a run's statistics, and what they say in plain words.

Being functions of those lines, which a restart finds again, they find the same in a run that was killed as in one that was
not. Thresholds were chosen on some runs and tested on others: see `benchmarks/collapse_doctor.py`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from training.doctor import advice
from training.doctor.advice import Treated
from training.doctor.signals import FLAT

Line = Mapping[str, float]
WINDOW = 12  # looks that a finding rests on: at one look every 48 steps, some 600 steps
REMIND = 50  # looks after which what goes on is told again
STALLED = 0.9  # of what it was half a window ago: what falls faster than this is still on its way

NO_VARIETY, SAME = 0.1, 0.9  # of real variety; share of generated pictures that have a twin
FAR = 0.1  # distance between the distributions that healthy runs fall below
CERTAIN, WRONG = 0.95, 0.25  # chance that the discriminator ranks a real picture above a generated one
RUNAWAY = 1e3  # gap between logits; norm of a gradient


@dataclass(frozen=True)
class Finding:
    """Something that is wrong. `text` says what is seen, the likely cause, and what to change."""

    name: str
    text: str
    curable: bool  # by going back to a good state, and on more gently


@dataclass(frozen=True)
class Detector:
    """`sees` is asked of the medians of the last `looks` lines; `tells` puts them into words."""

    name: str
    sees: Callable[[Line], bool]
    tells: Callable[[Line, Treated], str]
    looks: int = WINDOW
    on_its_way: bool = False  # whether there is hope as long as the distance falls
    curable: bool = True

    def finds(self, lines: list[Line]) -> Line | None:
        """The medians that it sees something in; None: nothing, or too little to tell."""
        window = lines[-self.looks :]
        if len(window) < self.looks or not self.sees(now := medians(window)):
            return None
        if self.on_its_way:
            half = self.looks // 2
            before, after = (medians(part)["doctor/distance"] for part in (window[:half], window[half:]))
            if after < STALLED * before:
                return None
        return now


def medians(lines: list[Line]) -> dict[str, float]:
    """Of every value that is in all lines; of a single line, the line."""
    return {name: median(line[name] for line in lines) for name in lines[-1] if all(name in line for line in lines)}


def broken(line: Line) -> list[str]:
    """Names of what is no finite number."""
    return [name for name, value in line.items() if not math.isfinite(value)]


def runs_away(line: Line) -> bool:
    """Logits or gradients beyond every measure."""
    gradients = max((value for name, value in line.items() if name.startswith("gradients/")), default=0.0)
    return max(abs(line.get("doctor/gap", 0.0)), gradients) > RUNAWAY


def is_far(line: Line) -> bool:
    """Whether generated pictures are distributed quite otherwise than real ones."""
    return line.get("doctor/distance", 0.0) > FAR


# in the order of which explains more: only the first one that finds something speaks
DETECTORS = (
    Detector(
        "no number", lambda line: bool(broken(line)), lambda line, config: advice.no_number(broken(line), config), looks=1
    ),
    Detector("one picture", lambda line: line.get("doctor/spread", 1.0) < FLAT, advice.one_picture, looks=4, curable=False),
    Detector(
        "no variety",
        lambda line: line.get("doctor/variety", 1.0) < NO_VARIETY or line.get("doctor/copies", 0.0) > SAME,
        advice.no_variety,
        looks=8,
    ),
    Detector("running away", runs_away, advice.running_away),
    Detector(
        "discriminator too strong",
        lambda line: is_far(line) and line.get("doctor/told_apart", 0.5) > CERTAIN,
        advice.too_strong,
        on_its_way=True,
    ),
    Detector(
        "discriminator too weak",
        lambda line: is_far(line) and line.get("doctor/told_apart", 0.5) < WRONG,
        advice.too_weak,
        on_its_way=True,
    ),
    Detector("far off", is_far, advice.far_off, on_its_way=True),
)


class Doctor:
    """Looks at every line of a run's statistics. `past`: the lines that are there already, oldest first."""

    def __init__(self, config: Treated, past: Iterable[Line] = ()) -> None:
        self.config = config
        self.lines: list[Line] = []
        self.looks = 0
        self.told: dict[str, int] = {}  # finding → at which look it was last told
        for line in past:
            self.examine(line)

    def examine(self, line: Line) -> Finding | None:
        """What is to be told after this line: what is new, or has gone on for long."""
        self.lines = [*self.lines[1 - WINDOW :], line]
        self.looks += 1
        for detector in DETECTORS:
            if (seen := detector.finds(self.lines)) is not None:
                if self.looks - self.told.get(detector.name, -REMIND) < REMIND:
                    return None
                self.told[detector.name] = self.looks
                return Finding(detector.name, detector.tells(seen, self.config), detector.curable)
        return None

    @property
    def well(self) -> bool:
        """Whether the newest line alone gives no detector cause to worry."""
        return not self.lines or not any(detector.sees(self.lines[-1]) for detector in DETECTORS)
