"""What the routes ask of the data sets: orders, states, files."""

import contextlib
from collections.abc import AsyncIterator

from app.datasets.errors import StorageFullError, TooManyDatasetsError
from app.datasets.records import GoneError, Job, Records
from app.datasets.runner import Runner
from app.datasets.spec import DatasetOrder, Spec
from app.datasets.storage import Storage
from app.engine.engine import Engine
from app.engine.errors import InvalidRequestError
from app.engine.image_to_image import FROM_LATENTS
from app.engine.library import about
from app.engine.plan import label_index
from app.seeds import random_seed
from models.latents import MAX_SEED

CHUNK = 256 * 1024  # bytes
MAX_IDX_CLASSES = 256  # labels of IDX files are bytes


class Datasets:
    """Orders become jobs; a runner in this process, or in another with the same database, makes them."""

    def __init__(
        self,
        engine: Engine,
        records: Records,
        storage: Storage,
        *,
        max_pictures: int,
        max_jobs: int,
        quota_bytes: int,
        retention_s: float,
    ) -> None:
        self._engine = engine
        self._records = records
        self._storage = storage
        self._max_pictures = max_pictures
        self._max_jobs = max_jobs
        self._quota_bytes = quota_bytes
        self._runner = Runner(engine, records, storage, quota_bytes, retention_s)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works on jobs inside the context."""
        async with self._runner.running():
            yield

    async def create(self, order: DatasetOrder) -> Job:
        """Raises what is wrong with it as the engine's errors, `StorageFullError` or `TooManyDatasetsError`."""
        spec = self._spec(order)
        if await self._runner.offload(self._records.used_bytes) >= self._quota_bytes:
            raise StorageFullError("the data sets that are there use up all their room: delete some of them")
        if len(await self.all()) >= self._max_jobs:
            raise TooManyDatasetsError(f"there are {self._max_jobs} data sets already: delete some of them")
        job = await self._runner.offload(self._records.create, spec, order.name)
        self._runner.tell()
        return job

    def _spec(self, order: DatasetOrder) -> Spec:
        served = self._engine.find(order.model, FROM_LATENTS)
        names = served.manifest.labels
        with about(served):
            counts = [order.per_class or 0] * max(1, len(names))
            if order.counts is not None:
                counts = [0] * len(names)
                for label, count in order.counts.items():
                    index = label_index(names, label)
                    if counts[index]:
                        raise InvalidRequestError("counts", f"'{label}' is a class that is counted already")
                    counts[index] = count
            total = sum(counts)
            if not 1 <= total <= self._max_pictures:
                raise InvalidRequestError("counts", f"a data set may have 1 to {self._max_pictures} pictures, and not {total}")
            if (order.seed or 0) + total - 1 > MAX_SEED:
                raise InvalidRequestError("seed", "the last picture's seed, seed + total - 1, would pass the largest seed")
            if order.format == "idx" and len(names) > MAX_IDX_CLASSES:
                raise InvalidRequestError("format", f"IDX files hold at most {MAX_IDX_CLASSES} classes")
        name, version = served.key
        seed = random_seed(total) if order.seed is None else order.seed
        return Spec(name, version, names, tuple(counts), seed, order.truncation, order.format, order.shard_size, order.split)

    async def get(self, identifier: str) -> Job:
        """Raises `GoneError`."""
        return await self._runner.offload(self._records.get, identifier)

    async def all(self) -> list[Job]:
        """Newest first."""
        return await self._runner.offload(self._records.all)

    async def delete(self, identifier: str) -> None:
        """Forgets a job; whoever works on it finds out, and stops. Raises `GoneError`."""
        await self._runner.offload(self._records.delete, identifier)
        await self._runner.offload(self._storage.delete, identifier)

    async def read(self, engine: Engine, job: str, name: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes of a file, piece by piece, read in helper threads."""
        file = await engine.offload(self._storage.read, job, name)
        try:
            await engine.offload(file.seek, start)
            while start < stop:
                piece = await engine.offload(file.read, min(CHUNK, stop - start))
                if not piece:
                    raise GoneError(job)  # cut off: the caller sees a broken answer, and not a short one
                start += len(piece)
                yield piece
        finally:
            file.close()
