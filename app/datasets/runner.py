"""Works on jobs, one after the other, as long as the service lives. Who makes them, and how, is told in `making`.

What is finished is finished: after `kill -9` a job goes on behind its last whole shard, and its bytes are the same.
"""

import asyncio
import contextlib
import errno
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from app.datasets.errors import UnfillableError
from app.datasets.making import Maker
from app.datasets.records import LEASE_S, GoneError, Job, Records
from app.datasets.spec import Limits
from app.datasets.storage import Storage
from app.engine.engine import Engine
from app.engine.errors import (
    DeadlineExceededError,
    EngineError,
    EngineStoppedError,
    ModelUnavailableError,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

POLL_S = 1.0  # how often to look for jobs of other processes, or left by dead ones
RETRY_S = 5.0  # of a paused job
OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT)


class NoRoomError(Exception):
    """The disk is full, or the quota is used up."""


class Runner:
    """The one worker of this process. Use as `async with runner.running():`."""

    def __init__(self, engine: Engine, records: Records, storage: Storage, limits: Limits) -> None:
        self._engine = engine
        self._records = records
        self._storage = storage
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="datasets")
        self._news = asyncio.Event()
        self._maker = Maker(engine, records, storage, self.offload, self._make_room, limits.lesson_pictures)

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
                if time.monotonic() - swept > self._limits.retention_s / 100 or not swept:
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
            if job.ended is not None and time.time() - job.ended > self._limits.retention_s:
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
            await self._maker.make(job)
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
        reason = (
            str(error)
            if isinstance(error, EngineError | UnfillableError)
            else "it could not be made; the server's log says why"
        )
        with contextlib.suppress(GoneError):
            await self.offload(self._records.fail, job.id, reason)

    async def _make_room(self) -> None:
        used = await self.offload(self._records.used_bytes)
        if used > self._limits.quota_bytes:
            room = f"the data sets have {used} bytes, and may have {self._limits.quota_bytes}"
            raise NoRoomError(f"{room}: delete some, or raise GANYMEDE_STORAGE_QUOTA_MB")
