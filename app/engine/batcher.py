"""Groups the pictures of many requests into micro-batches, fairly, within a bounded queue.

Work starts at once when a lane is idle; when all are busy, the next free lane takes what has queued. Each turn goes to the
next model, and within it every request may fill what room is left in the micro-batch and then goes to the end of the line:
a request for one picture waits for about one micro-batch, however large the request before it.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.engine.catalog import Key, Served
from app.engine.errors import DeadlineExceededError, EngineStoppedError, ExecutionFailedError, OverloadedError
from app.engine.worker import Worker
from app.telemetry import Metrics

log = logging.getLogger(__name__)

MAX_RETRY_AFTER_S = 60


@dataclass(eq=False)
class Job:
    """The pictures of one request, on their way: rows of z (n, z_dim) and maybe y (n, classes)."""

    model: Served
    rows: tuple[Tensor, ...]
    done: asyncio.Future[None]
    deadline: float  # seconds, of the event loop's clock
    started_at: float | None = None  # seconds, of `time.perf_counter`
    taken: int = 0
    finished: int = 0
    parts: dict[int, NDArray[np.uint8]] = field(default_factory=dict)  # by the first row's index

    @property
    def size(self) -> int:
        """How many pictures the request asked for."""
        return len(self.rows[0])

    def images(self) -> NDArray[np.uint8]:
        """All pictures in order, uint8 (n, H, W, C)."""
        return np.concatenate([self.parts[start] for start in sorted(self.parts)])


@dataclass(frozen=True)
class Share:
    """Rows `start` to `stop` of a job, as part of one micro-batch."""

    job: Job
    start: int
    stop: int


class Batcher:
    """The queue before the worker. All methods belong to the event loop's thread."""

    def __init__(self, worker: Worker, max_pixels: int, metrics: Metrics) -> None:
        self._worker = worker
        self._max_pixels = max_pixels
        self._metrics = metrics
        self._lines: OrderedDict[Key, deque[Job]] = OrderedDict()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pixels = 0  # of every job that somebody waits for
        self._rate = 0.0  # pixels a second, as measured over the latest micro-batches
        self._stopping = False
        self._lanes: list[asyncio.Task[None]] = []

    @property
    def queued_pixels(self) -> int:
        """Pixels of all requests that are waiting or being drawn."""
        return self._pixels

    def start(self) -> None:
        """Starts one task for each lane of the worker."""
        self._lanes = [asyncio.create_task(self._serve(), name=f"lane-{i}") for i in range(self._worker.lanes)]

    async def submit(self, model: Served, rows: tuple[Tensor, ...], timeout_s: float) -> Job:
        """Draws one picture for each row and returns the finished job.

        Raises `OverloadedError`, `DeadlineExceededError`, `EngineStoppedError` or `ExecutionFailedError`. Cancelling the
        caller takes the job out of the queue.
        """
        if self._stopping:
            raise EngineStoppedError("the service is shutting down")
        pixels = model.pixels * len(rows[0])
        if self._pixels + pixels > self._max_pixels:
            raise OverloadedError(self.retry_after_s())
        loop = asyncio.get_running_loop()
        job = Job(model, rows, loop.create_future(), loop.time() + timeout_s)
        self._count(pixels)
        try:
            self._lines.setdefault(model.key, deque()).append(job)
            self._work.set()
            async with asyncio.timeout_at(job.deadline):
                await job.done
        except TimeoutError:
            raise DeadlineExceededError(f"the pictures were not ready within {timeout_s * 1000:.0f} ms") from None
        finally:
            self._count(-pixels)
        return job

    def retry_after_s(self) -> int:
        """In how many seconds the queue should be empty, at the measured rate: 1 … 60."""
        if not self._rate:
            return 1
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(self._pixels / self._rate)))

    async def drain(self) -> None:
        """Takes no more work, and waits until all that was accepted is done."""
        self._stopping = True
        await self._idle.wait()

    async def close(self) -> None:
        """Takes no more work and fails whatever is still waiting: nobody is left hanging."""
        self._stopping = True
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        for line in self._lines.values():
            for job in line:
                _fail(job, EngineStoppedError("the service is shutting down"))
        self._lines.clear()

    def _count(self, pixels: int) -> None:
        self._pixels += pixels
        self._metrics.queue_pixels.set(self._pixels)
        if self._pixels:
            self._idle.clear()
        else:
            self._idle.set()

    async def _serve(self) -> None:
        """One lane: takes a micro-batch, runs it, hands out the pictures, until cancelled."""
        while True:
            shares = self._take()
            if not shares:
                self._work.clear()
                await self._work.wait()
                continue
            try:
                await self._run(shares)
            except asyncio.CancelledError:
                for share in shares:
                    _fail(share.job, EngineStoppedError("the service is shutting down"))
                raise
            except Exception:
                log.exception("a micro-batch of %s@%d failed", *shares[0].job.model.key)
                for share in shares:
                    _fail(share.job, ExecutionFailedError("the pictures could not be drawn"))

    def _take(self) -> list[Share]:
        """The next micro-batch, all of one model, or nothing if nobody waits. Passes over jobs that were given up."""
        now = asyncio.get_running_loop().time()
        while self._lines:
            key, line = self._lines.popitem(last=False)
            shares: list[Share] = []
            room = self._worker.micro_batch
            while line and room:
                job = line.popleft()
                if job.done.done():
                    continue
                if now >= job.deadline:
                    _fail(job, DeadlineExceededError("the deadline passed before the pictures were begun"))
                    continue
                share = Share(job, job.taken, min(job.taken + room, job.size))
                job.taken, room = share.stop, room - (share.stop - share.start)
                job.started_at = job.started_at or time.perf_counter()
                shares.append(share)
                if job.taken < job.size:
                    line.append(job)  # no room is left then, so this ends the loop
            if line:
                self._lines[key] = line  # to the end: the other models come first
            if shares:
                return shares
        return []

    async def _run(self, shares: list[Share]) -> None:
        model = shares[0].job.model
        columns = zip(*(tuple(r[s.start : s.stop] for r in s.job.rows) for s in shares), strict=True)
        rows = tuple(torch.cat(column) for column in columns)
        began = time.perf_counter()  # uvloop's own clock counts whole milliseconds
        images = await self._worker.run(model.generator, rows)
        self._measure(model, len(images), time.perf_counter() - began)
        offset = 0
        for share in shares:
            count = share.stop - share.start
            share.job.parts[share.start] = images[offset : offset + count]
            share.job.finished += count
            offset += count
            if share.job.finished == share.job.size and not share.job.done.done():
                share.job.done.set_result(None)

    def _measure(self, model: Served, pictures: int, seconds: float) -> None:
        rate = pictures * model.pixels * self._worker.lanes / max(seconds, 1e-6)
        self._rate = rate if not self._rate else 0.9 * self._rate + 0.1 * rate
        self._metrics.batch_pictures.observe(pictures)
        self._metrics.batch_seconds.labels(model.manifest.name).observe(seconds)
        self._metrics.pictures.labels(model.manifest.name, str(model.manifest.version)).inc(pictures)


def _fail(job: Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)
