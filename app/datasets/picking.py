"""Draws a data set's pictures, redraws those that its filter refuses, and looks at a sample of what is kept.

Which picture stands in a place is decided by the place, the seed and the model alone: try k (0, 1, 2, …) for place i has
seed `seed + k · total + i`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from app.codecs import png
from app.codecs.picture import Picture, Provenance
from app.datasets.errors import UnfillableError
from app.datasets.formats.row import Row
from app.datasets.spec import Contents, Spec
from app.datasets.tally import Close, Tally
from app.engine.catalog import Served
from app.engine.device import Answers, Pixels
from app.engine.engine import Engine
from app.engine.errors import OverloadedError
from app.engine.loading import FILTER, JUDGE
from app.engine.orders import Drawn, DrawOrder, Label
from models.copies import Index
from models.latents import MAX_SEED

T = TypeVar("T")

CHUNK = 1024  # pictures at a time, at most
MAX_TRIES = 200  # for one place
JUDGED = 2_000  # pictures of a data set, evenly spread
COMPARED = 1_000  # likewise, unless the filter compares all
PATIENCE_S = 600.0  # for the pictures of one call
LONGEST_PAUSE_S = 5.0  # while the queue is full
CONFIDENCE, SIMILARITY = "confidence", "similarity"


@dataclass(frozen=True)
class Shown:
    """A picture: its pixels (H, W, C), and what goes into the files."""

    pixels: Pixels
    written: Any


def its_pixels(drawn: Drawn) -> Shown:
    """For formats of bare pixels."""
    return Shown(drawn.pixels, drawn.pixels)


def as_png(drawn: Drawn) -> Shown:
    """For formats of files: each tells where it comes from."""
    manifest = drawn.model.manifest
    label = None if drawn.label is None else manifest.labels[drawn.label]
    source = Provenance(manifest.name, manifest.version, drawn.seed, label, drawn.truncation)
    return Shown(drawn.pixels, png.encoded(Picture(drawn.pixels, source)).data)


class Picker:
    """Of one job. `index` finds near-copies; None for models that were published without it."""

    def __init__(self, engine: Engine, served: Served, spec: Spec, plan: Contents, index: Index | None) -> None:
        self._engine, self._served, self._spec, self._plan, self._index = engine, served, spec, plan, index
        proof = served.manifest.proof
        self.chunk = min(CHUNK, engine.most_pictures(served))  # pictures that are drawn, and in memory, at a time
        self._has_judge = proof is not None and JUDGE in proof.readers
        self._judge_every = -(-spec.total // JUDGED)
        self._compare_every = -(-spec.total // COMPARED)

    async def rows(self, start: int, stop: int, make: Callable[[Drawn], Shown]) -> tuple[list[Row], Tally]:
        """Pictures `start` to `stop` of the data set. Raises `UnfillableError`, or as the engine does."""
        tally = Tally()
        kept: dict[int, Shown] = {}
        near: dict[int, tuple[float, int]] = {}  # similarity, and the training picture
        places = list(range(start, stop))
        for k in range(MAX_TRIES):
            shown = dict(zip(places, await self.draw(places, [k] * len(places), make), strict=True))
            refused = await self._refused(shown, near)
            for reason, which in refused.items():
                tally.refused.setdefault(reason, Counter()).update(self._label(i) for i in which)
            again = set().union(*refused.values())
            kept |= {i: picture for i, picture in shown.items() if i not in again}
            tally.tries |= {i: k + 1 for i in places if k and i not in again}
            places = sorted(again)
            if not places:
                break
        else:
            raise UnfillableError(self._why_unfillable(places))
        seeds = {i: self.seed(i, tally.tries.get(i, 1) - 1) for i in kept}
        await self._look(kept, seeds, near, tally)
        rows = [Row(i, seeds[i], self._label(i), kept[i].written) for i in range(start, stop)]
        return rows, tally

    def seed(self, place: int, k: int) -> int:
        """Of try k (0, 1, 2, …) for a place."""
        return (self._spec.seed + k * self._spec.total + place) & MAX_SEED

    async def draw(self, places: Sequence[int], tries: Sequence[int], make: Callable[[Drawn], Shown]) -> list[Shown]:
        """The pictures of some places, each of a certain try."""
        cuts = range(0, len(places), self.chunk)
        parts = [await self._drawn(places[i : i + self.chunk], tries[i : i + self.chunk], make) for i in cuts]
        return [picture for part in parts for picture in part]

    async def _drawn(self, places: Sequence[int], tries: Sequence[int], make: Callable[[Drawn], Shown]) -> list[Shown]:
        spec = self._spec
        seeds = [self.seed(i, k) for i, k in zip(places, tries, strict=True)]
        labels: list[Label] | None = [self._label(i) for i in places] if spec.label_names else None
        order = DrawOrder(f"{spec.model}@{spec.version}", len(seeds), seeds[0], None, labels, spec.truncation, seeds)
        return list((await patiently(lambda: self._engine.in_bulk(order, PATIENCE_S, make))).pieces)

    async def _refused(self, shown: Mapping[int, Shown], near: dict[int, tuple[float, int]]) -> dict[str, set[int]]:
        """Which pictures are drawn again, and why; each for one reason. What was compared is put into `near`."""
        wanted = self._spec.filter
        refused: dict[str, set[int]] = {}
        if wanted.reads:
            sure = await self._read(FILTER, shown)
            refused[CONFIDENCE] = {i for i, row in zip(shown, sure, strict=True) if not wanted.passes(row[self._label(i)])}
        if wanted.max_similarity is not None:
            left = {i: picture for i, picture in shown.items() if i not in refused.get(CONFIDENCE, ())}
            close = await self._nearest(left)
            near.update(close)
            refused[SIMILARITY] = {i for i, (similarity, _) in close.items() if similarity > wanted.max_similarity}
        return refused

    async def _look(
        self, kept: Mapping[int, Shown], seeds: Mapping[int, int], near: Mapping[int, tuple[float, int]], tally: Tally
    ) -> None:
        """Compares and judges a sample of what was kept."""
        near = near or await self._nearest({i: kept[i] for i in sorted(kept) if i % self._compare_every == 0})
        tally.compared(Close(similarity, i, seeds[i], training) for i, (similarity, training) in near.items())
        if self._has_judge:
            sample = {i: kept[i] for i in sorted(kept) if i % self._judge_every == 0}
            read = (await self._read(JUDGE, sample)).argmax(axis=1).tolist() if sample else []
            tally.read.update((self._label(i), label) for i, label in zip(sample, read, strict=True))

    async def _read(self, part: str, shown: Mapping[int, Shown]) -> Answers:
        pictures = np.stack([picture.pixels for picture in shown.values()])
        return await patiently(lambda: self._engine.pictures.read(self._served, part, pictures, PATIENCE_S))

    async def _nearest(self, shown: Mapping[int, Shown]) -> dict[int, tuple[float, int]]:
        """Similarity to the nearest training picture, and that one's index."""
        if not shown or self._index is None:
            return {}
        pictures = torch.from_numpy(np.stack([picture.pixels for picture in shown.values()])).permute(0, 3, 1, 2)
        found = await self._engine.offload(self._index.nearest, pictures)
        pairs = zip(found.similarity.tolist(), found.index.tolist(), strict=True)
        return dict(zip(shown, pairs, strict=True))

    def _label(self, place: int) -> int:
        return int(self._plan.labels[place])

    def _why_unfillable(self, places: Sequence[int]) -> str:
        names = sorted({self._spec.label_names[self._label(i)] for i in places}) if self._spec.label_names else []
        of = f" of {', '.join(names[:10])}" if names else ""
        return (
            f"the filter refused {MAX_TRIES} pictures{of} in a row for one place: "
            f"ask for less than {' and '.join(f'{k} {v}' for k, v in self._spec.filter.as_json().items())}"
        )


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What the engine answers, waiting while its queue is full: jobs give way to requests."""
    while True:
        try:
            return await ask()
        except OverloadedError as error:
            await asyncio.sleep(min(error.retry_after_s, LONGEST_PAUSE_S))
