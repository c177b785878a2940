"""Works on jobs, one after the other: draws their pictures with the engine, and writes shard after shard.

What is finished is finished: after `kill -9` a job goes on behind its last whole shard, and its bytes are the same.
"""

import asyncio
import contextlib
import errno
import functools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from app.codecs import png
from app.codecs.picture import Picture, Provenance
from app.datasets.datasheet import datasheet, summary
from app.datasets.formats import FORMATS, Format, Hashed, Row, Shape
from app.datasets.records import FAILED, LEASE_S, SUCCEEDED, File, GoneError, Job, Records
from app.datasets.spec import Contents, Shard, Spec, contents
from app.datasets.storage import Storage
from app.engine.engine import Engine
from app.engine.errors import (
    DeadlineExceededError,
    EngineError,
    EngineStoppedError,
    ModelUnavailableError,
    OverloadedError,
)
from app.engine.orders import Drawn, DrawOrder, Each, its_pixels

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

CHUNK = 1024  # pictures drawn at a time, at most; the next are drawn while these are written
POLL_S = 1.0  # how often to look for jobs of other processes, or left by dead ones
TOLD_EVERY_S = 1.0
PATIENCE_S = 600.0  # for one chunk
RETRY_S = 5.0  # of a paused job
OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT)
REPORT, DATASHEET = "report.json", "README.md"


class NoRoomError(Exception):
    """The disk is full, or the quota is used up."""


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


class Runner:
    """The one worker of this process. Use as `async with runner.running():`."""

    def __init__(self, engine: Engine, records: Records, storage: Storage, quota_bytes: int, retention_s: float) -> None:
        self._engine = engine
        self._records = records
        self._storage = storage
        self._quota_bytes = quota_bytes
        self._retention_s = retention_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="datasets")
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works inside the context. On leaving it, the job that is under way is left to whoever comes next."""
        worker = asyncio.create_task(self._live(), name="datasets")
        try:
            yield
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            await asyncio.to_thread(self._thread.shutdown, wait=True)
            self._records.close()

    def tell(self) -> None:
        """There is a new job."""
        self._news.set()

    async def offload(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs what touches the disk or the database in the one thread that does."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, functools.partial(function, *args, **kwargs))

    async def _live(self) -> None:
        swept = 0.0
        while True:
            try:
                if time.monotonic() - swept > self._retention_s / 100 or not swept:
                    await self.offload(self._sweep)
                    swept = time.monotonic()
                job = await self.offload(self._records.claim) if self._engine.catalog.scanned else None
                if job is not None:
                    await self._work(job)
                    continue
            except Exception:
                log.exception("working on data sets failed; it is tried again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), POLL_S)
            self._news.clear()

    def _sweep(self) -> None:
        """Removes data sets that were kept long enough, and files that no job has."""
        if not self._records.exists():
            return
        jobs = self._records.all()
        for job in jobs:
            if job.ended is not None and time.time() - job.ended > self._retention_s:
                log.info("data set %s was kept for its time and is removed", job.id)
                with contextlib.suppress(GoneError):
                    self._records.delete(job.id)
        kept = {job.id for job in self._records.all()}
        for identifier in self._storage.jobs():
            if identifier.startswith("ds_") and identifier not in kept:
                self._storage.delete(identifier)

    async def _work(self, job: Job) -> None:
        """Takes a job as far as it goes, and says how it ended."""
        log.info("data set %s: %d pictures of %s@%d", job.id, job.total, job.spec.model, job.spec.version)
        beat = asyncio.create_task(self._keep_lease(job), name="lease")
        try:
            await self._make(job)
            log.info("data set %s is finished", job.id)
        except GoneError:
            await self._left(job)
        except asyncio.CancelledError:
            with contextlib.suppress(GoneError):
                await asyncio.shield(self.offload(self._records.release, job.id))
            raise
        except (NoRoomError, ModelUnavailableError, EngineStoppedError, DeadlineExceededError) as error:
            await self._pause(job, str(error))
        except OSError as error:
            if error.errno not in OUT_OF_ROOM:
                await self._fail(job, error)
            else:
                await self._pause(job, "the disk of the data sets is full; it goes on when there is room")
        except Exception as error:  # noqa: BLE001  whatever it was: it fails this job, and the next is worked on
            await self._fail(job, error)
        finally:
            beat.cancel()

    async def _keep_lease(self, job: Job) -> None:
        """Renews it until it is cancelled: however long a part of the work takes, nobody else begins with it."""
        with contextlib.suppress(GoneError):
            while True:
                await asyncio.sleep(LEASE_S / 4)
                await self.offload(self._records.renew, job.id)

    async def _left(self, job: Job) -> None:
        """The job was deleted: so are its files. Or another process has taken it over, and they are its files now."""
        try:
            await self.offload(self._records.get, job.id)
        except GoneError:
            await self.offload(self._storage.delete, job.id)
            log.info("data set %s was deleted", job.id)
        else:
            log.warning("data set %s is worked on by another process now", job.id)

    async def _pause(self, job: Job, reason: str) -> None:
        log.warning("data set %s pauses: %s", job.id, reason)
        with contextlib.suppress(GoneError):
            await self.offload(self._records.pause, job.id, reason, RETRY_S)

    async def _fail(self, job: Job, error: Exception) -> None:
        log.exception("data set %s failed", job.id)
        reason = str(error) if isinstance(error, EngineError) else "it could not be made; the server's log says why"
        with contextlib.suppress(GoneError):
            await self.offload(self._records.end, job.id, FAILED, error=reason)

    async def _make(self, job: Job) -> None:
        spec, plan = job.spec, await self.offload(contents, job.spec)
        await self.offload(self._storage.clean, job.id)
        served = self._engine.catalog.find(f"{spec.model}@{spec.version}")
        output = served.manifest.output
        shape: Shape = (output.height, output.width, output.channels)
        finished = {file.shard for file in job.files if file.shard is not None}
        sitting = Sitting(time.monotonic())
        for place in range(len(plan.shards)):
            if place in finished:
                continue
            await self._check_quota()
            files = await self._shard(job, plan, place, shape, sitting)
            done = sum(s.stop - s.start for s in plan.shards[: place + 1])
            await self.offload(self._records.finished, job.id, files, 2 * place + 2, done)
            log.info("data set %s: %s, %d of %d", job.id, files[0].name, done, spec.total)
        report = summary(job, served.manifest, plan)
        sheets = {DATASHEET: (datasheet(job, served.manifest, plan), "text/markdown"), REPORT: (report, "application/json")}
        await self.offload(self._write_sheets, job, sheets)
        await self.offload(self._records.end, job.id, SUCCEEDED, report=report)

    async def _check_quota(self) -> None:
        used = await self.offload(self._records.used_bytes)
        if used > self._quota_bytes:
            room = f"the data sets have {used} bytes, and may have {self._quota_bytes}"
            raise NoRoomError(f"{room}: delete some, or raise GANYMEDE_STORAGE_QUOTA_MB")

    async def _shard(self, job: Job, plan: Contents, place: int, shape: Shape, sitting: Sitting) -> list[File]:
        """Draws and writes one shard."""
        shard, form = plan.shards[place], FORMATS[job.spec.format]
        each = its_pixels if form.wants == "pixels" else encoded_png
        served = self._engine.catalog.find(f"{job.spec.model}@{job.spec.version}")
        chunk = min(CHUNK, self._engine.most_pictures(served))
        ends = [min(start + chunk, shard.stop) for start in range(shard.start, shard.stop, chunk)]
        starts = [shard.start, *ends[:-1]]
        async with contextlib.AsyncExitStack() as stack:
            writing = await self.offload(ShardFiles, self._storage, job, form, shard, shape)
            stack.push_async_callback(self.offload, writing.abandon)
            drawing = asyncio.create_task(self._draw(job.spec, plan, starts[0], ends[0], each))
            stack.push_async_callback(_cancelled, lambda: drawing)
            for i, start in enumerate(starts):
                rows = await drawing
                if i + 1 < len(starts):
                    drawing = asyncio.create_task(self._draw(job.spec, plan, starts[i + 1], ends[i + 1], each))
                await self.offload(writing.add, rows)
                sitting.drawn += len(rows)
                if time.monotonic() - sitting.told > TOLD_EVERY_S:
                    sitting.told = time.monotonic()
                    await self.offload(self._records.progress, job.id, start + len(rows), sitting.rate)
            return await self.offload(writing.end, place)

    async def _draw(self, spec: Spec, plan: Contents, start: int, stop: int, each: Each) -> list[Row]:
        """Pictures `start` to `stop`. Waits while the queue is full."""
        labels = plan.labels[start:stop].tolist()
        order = DrawOrder(
            f"{spec.model}@{spec.version}",
            stop - start,
            spec.seed + start,
            labels=labels if spec.label_names else None,
            truncation=spec.truncation,
        )
        while True:
            try:
                drawing = await self._engine.any_task(order, PATIENCE_S, each)
            except OverloadedError as error:
                await asyncio.sleep(min(error.retry_after_s, RETRY_S))
                continue
            return [
                Row(start + i, spec.seed + start + i, label, picture)
                for i, (label, picture) in enumerate(zip(labels, drawing.pieces, strict=True))
            ]

    def _write_sheets(self, job: Job, sheets: dict[str, tuple[Any, str]]) -> None:
        files = []
        for name, (content, media_type) in sheets.items():
            with self._storage.write(job.id, name) as out:
                hashed = Hashed(out)
                hashed.write(as_bytes(content))
            files.append(File(name, hashed.tell(), hashed.sha256, media_type))
        self._records.finished(job.id, files, 0, job.total)


async def _cancelled(task: Callable[[], asyncio.Task[Any]]) -> None:
    task().cancel()
    await asyncio.gather(task(), return_exceptions=True)


def as_bytes(content: Any) -> bytes:
    """Text, or JSON, as it stands in a file."""
    return (content if isinstance(content, str) else json.dumps(content, indent=2) + "\n").encode()


def encoded_png(drawn: Drawn) -> bytes:
    """A picture as PNG, with its provenance."""
    manifest = drawn.model.manifest
    label = None if drawn.label is None else manifest.labels[drawn.label]
    source = Provenance(manifest.name, manifest.version, drawn.seed, label, drawn.truncation)
    return png.encoded(Picture(drawn.pixels, source)).data


class ShardFiles:
    """The files of one shard while they are written. In the thread of the data sets."""

    def __init__(self, storage: Storage, job: Job, form: Format, shard: Shard, shape: Shape) -> None:
        self._form, self._names = form, form.names(shard, shape)
        self._stack = contextlib.ExitStack()
        self._outs = [Hashed(self._stack.enter_context(storage.write(job.id, name))) for name in self._names]
        self._writer = form.open(self._outs, job.spec, shard, shape)

    def add(self, rows: Sequence[Row]) -> None:
        """The next pictures."""
        self._writer.add(rows)

    def end(self, place: int) -> list[File]:
        """Finishes the files. Now they are on the disk."""
        self._writer.end()
        self._stack.close()
        files = zip(self._names, self._outs, strict=True)
        return [File(name, out.tell(), out.sha256, self._form.media_type, place) for name, out in files]

    def abandon(self) -> None:
        """Removes what was not finished; nothing if it was."""
        with contextlib.suppress(AbandonedError), self._stack:
            raise AbandonedError


class AbandonedError(Exception):
    """Tells a file that is being written that it will not be finished."""
