"""Makes one data set: shard after shard, then what tells of it. What is finished is finished, and is never made again."""

import asyncio
import contextlib
import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from app.datasets.datasheet import datasheet
from app.datasets.drawings import draw_classes, draw_confusion
from app.datasets.formats import FORMATS, Format, Hashed, Row, Shape
from app.datasets.offload import Offload
from app.datasets.picking import Picker, as_png, its_pixels
from app.datasets.records import File, Job, Records
from app.datasets.report import CLASSES, CONFUSION, USEFULNESS, Findings, as_text, summary
from app.datasets.spec import Shard, contents
from app.datasets.storage import Storage
from app.datasets.tally import Tally
from app.datasets.usefulness import measured
from app.engine.catalog import Served
from app.engine.engine import Engine
from models.checkpoint import read_attachment
from models.copies import Index, unpack

T = TypeVar("T")
Chunk = tuple[list[Row], Tally]  # some pictures of a shard, and what is told of them

log = logging.getLogger(__name__)

TOLD_EVERY_S = 1.0
AHEAD = 2  # chunks under way beside the one that is written: the next is drawn while one is compared with training pictures
SHOWN = 10  # pictures of each class, in the report
REPORT_JSON, REPORT, DATASHEET = "report.json", "REPORT.md", "README.md"
MEDIA_TYPES = {"json": "application/json", "md": "text/markdown", "png": "image/png"}


@dataclass
class Sitting:
    """How fast a job goes in this process."""

    began: float
    drawn: int = 0
    told: float = 0.0

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.drawn / max(time.monotonic() - self.began, 1e-6)


class Maker:
    """Makes jobs' data sets. `make_room` is called before each shard, and raises what there is no room for."""

    def __init__(
        self,
        engine: Engine,
        records: Records,
        storage: Storage,
        offload: Offload,
        make_room: Callable[[], Awaitable[None]],
        lesson_pictures: int,
    ) -> None:
        self._engine, self._records, self._storage = engine, records, storage
        self._offload, self._make_room = offload, make_room
        self._lesson_pictures = lesson_pictures
        self._indices = Indices()

    async def make(self, job: Job) -> None:
        """Makes what is not there yet. Raises `GoneError`, and what drawing and writing raise."""
        plan = await self._offload(contents, job.spec)
        await self._offload(self._storage.clean, job.id)
        served = self._engine.catalog.find(f"{job.spec.model}@{job.spec.version}")
        index = await self._engine.offload(self._indices.of, served)
        picker = Picker(self._engine, served, job.spec, plan, index)
        finished = {file.shard for file in job.files}
        sitting = Sitting(time.monotonic())
        left = [(place, shard) for place, shard in enumerate(plan.shards) if place not in finished]
        step = picker.chunk
        cuts = [(i, min(i + step, shard.stop)) for _, shard in left for i in range(shard.start, shard.stop, step)]
        make = its_pixels if FORMATS[job.spec.format].wants == "pixels" else as_png
        # across the ends of shards: the next one's pictures are drawn while the last one's files are finished
        async with contextlib.aclosing(in_order((picker.rows(*cut, make) for cut in cuts), AHEAD)) as drawn:
            for place, shard in left:
                await self._make_room()
                files, tally = await self._shard(job, served, drawn, place, shard, sitting)
                done = sum(s.stop - s.start for s in plan.shards[: place + 1])
                await self._offload(self._records.finished, job.id, place, files, tally, done)
                log.info("data set %s: %s, %d of %d", job.id, files[0].name, done, job.total)
        tally = await self._offload(self._records.tally, job.id)
        await self._tell_of(Findings(job, served.manifest, plan, tally, index), served, picker)

    async def _shard(
        self, job: Job, served: Served, drawn: AsyncGenerator[Chunk, None], place: int, shard: Shard, sitting: Sitting
    ) -> tuple[list[File], Tally]:
        """Writes one shard, of the next chunks that are drawn."""
        form, output = FORMATS[job.spec.format], served.manifest.output
        shape: Shape = (output.height, output.width, output.channels)
        tally = Tally()
        async with contextlib.AsyncExitStack() as stack:
            writing = await self._offload(ShardFiles, self._storage, job, form, shard, shape)
            stack.push_async_callback(self._offload, writing.abandon)
            async for rows, of_rows in drawn:
                await self._offload(writing.add, rows)
                tally.add(of_rows)
                sitting.drawn += len(rows)
                if time.monotonic() - sitting.told > TOLD_EVERY_S:
                    sitting.told = time.monotonic()
                    await self._offload(self._records.progress, job.id, rows[-1].index + 1, sitting.rate)
                if rows[-1].index + 1 == shard.stop:
                    break
            return await self._offload(writing.end, place), tally

    async def _tell_of(self, found: Findings, served: Served, picker: Picker) -> None:
        """Writes the report and all that belongs to it, and ends the job."""
        job, files = found.job, {}
        if job.measure:
            usefulness, picture = await measured(
                self._engine,
                self._storage,
                served,
                picker,
                found,
                self._lesson_pictures,
                lambda stage: self._at_stage(job, stage),
            )
            found = replace(found, usefulness=usefulness)
            if picture is not None:
                files[USEFULNESS] = picture
        files[CLASSES] = await self._drawn_classes(found, picker)
        if found.tally.read:
            files[CONFUSION] = draw_confusion(found.tally.read, job.spec.label_names)
        report = summary(found)
        texts = {
            DATASHEET: datasheet(job, found.manifest, found.plan),
            REPORT: as_text(found, report),
            REPORT_JSON: json.dumps(report, indent=2) + "\n",
        }
        files = {**{name: text.encode() for name, text in texts.items()}, **dict(sorted(files.items()))}
        await self._offload(self._write, job, files, report)

    async def _at_stage(self, job: Job, stage: str) -> None:
        await self._offload(self._records.at_stage, job.id, stage)

    async def _drawn_classes(self, found: Findings, picker: Picker) -> bytes:
        """The first pictures of each class."""
        names = found.job.spec.label_names or (found.job.spec.model,)
        rows = []
        for label, name in enumerate(names[:20]):
            places = (found.plan.labels == label).nonzero()[0][:SHOWN].tolist()
            tries = [found.tally.tries.get(i, 1) - 1 for i in places]
            shown = await picker.draw(places, tries, its_pixels) if places else []
            rows.append((name, [picture.pixels for picture in shown]))
        return await self._engine.offload(draw_classes, rows)

    def _write(self, job: Job, files: dict[str, bytes], report: dict[str, Any]) -> None:
        written = []
        for name, content in files.items():
            with self._storage.write(job.id, name) as out:
                hashed = Hashed(out)
                hashed.write(content)
            written.append(File(name, hashed.tell(), hashed.sha256, MEDIA_TYPES[name.rpartition(".")[2]]))
        self._records.told(job.id, written, report)


async def in_order(calls: Iterable[Coroutine[Any, Any, T]], ahead: int) -> AsyncGenerator[T, None]:
    """What `calls` return, one after the other, while up to `ahead` later ones are under way. Cancels them if it is closed."""
    tasks: deque[asyncio.Task[T]] = deque()
    try:
        for call in calls:
            tasks.append(asyncio.create_task(call))
            if len(tasks) > ahead:
                yield await tasks[0]
                tasks.popleft()
        while tasks:
            yield await tasks[0]
            tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Indices:
    """The indices of training pictures that were used last: they take some megabytes each."""

    KEPT = 2

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Index] = OrderedDict()

    def of(self, served: Served) -> Index | None:
        """A model's; None if it was published without one. Raises `CheckpointError`."""
        proof = served.manifest.proof
        if proof is None:
            return None
        if served.key not in self._kept:
            self._kept[served.key] = unpack(read_attachment(served.folder, proof.index))
        self._kept.move_to_end(served.key)
        while len(self._kept) > self.KEPT:
            self._kept.popitem(last=False)
        return self._kept[served.key]


class ShardFiles:
    """The files of one shard while they are written. In the thread of the data sets."""

    def __init__(self, storage: Storage, job: Job, form: Format, shard: Shard, shape: Shape) -> None:
        self._form, self._names = form, form.names(shard, shape)
        self._stack = contextlib.ExitStack()
        self._outs = [Hashed(self._stack.enter_context(storage.write(job.id, name))) for name in self._names]
        self._writer = form.open(self._outs, job.spec, shard, shape)
        self._ended = False

    def add(self, rows: Sequence[Row]) -> None:
        """The next pictures."""
        self._writer.add(rows)

    def end(self, place: int) -> list[File]:
        """Finishes the files. Now they are on the disk."""
        self._writer.end()
        self._stack.close()
        self._ended = True
        files = zip(self._names, self._outs, strict=True)
        return [File(name, out.tell(), out.sha256, self._form.media_type, place) for name, out in files]

    def abandon(self) -> None:
        """Removes what was not finished; nothing if it was."""
        if self._ended:
            return
        for out in self._outs:
            out.forget()
        with contextlib.suppress(Exception):
            self._writer.end()  # into nowhere: archives complain if they are left open
        with contextlib.suppress(AbandonedError), self._stack:
            raise AbandonedError


class AbandonedError(Exception):
    """Tells a file that is being written that it will not be finished."""
