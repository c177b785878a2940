"""What the routes ask of the data sets: orders, states, files."""

import contextlib
from collections.abc import AsyncIterator

from app.datasets.errors import NotFinishedError, StorageFullError, TooManyDatasetsError
from app.datasets.records import SUCCEEDED, GoneError, Job, Records
from app.datasets.runner import Runner
from app.datasets.spec import DatasetOrder, Limits, Spec
from app.datasets.storage import Storage
from app.datasets.usefulness import REAL
from app.datasets.webhooks import Webhooks
from app.datasets.worth.real import RealSetError, of_zip
from app.engine.catalog import Served
from app.engine.engine import Engine
from app.engine.errors import InvalidRequestError
from app.engine.image_to_image import FROM_LATENTS
from app.engine.library import about
from app.engine.loading import FILTER
from app.engine.plan import label_index
from app.seeds import random_seed
from models.latents import MAX_SEED

CHUNK = 256 * 1024  # bytes
WITHOUT = "was published without"
MAX_IDX_CLASSES = 256  # labels of IDX files are bytes


class Datasets:
    """Orders become jobs; a runner in this process, or in another with the same database, makes them."""

    def __init__(
        self,
        engine: Engine,
        records: Records,
        storage: Storage,
        limits: Limits,
        webhooks: Webhooks,
    ) -> None:
        self._engine = engine
        self._records = records
        self._storage = storage
        self._limits = limits
        self._webhooks = webhooks
        self._runner = Runner(engine, records, storage, limits)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works on jobs inside the context."""
        async with self._runner.running(), self._webhooks.running(self._records, self._runner.offload):
            yield

    async def create(self, order: DatasetOrder) -> Job:
        """Raises what is wrong with it as the engine's errors, `StorageFullError` or `TooManyDatasetsError`."""
        spec = self._spec(order)
        if order.webhook is not None and (reason := self._webhooks.why_not(order.webhook)) is not None:
            raise InvalidRequestError("webhook", reason)
        if await self._runner.offload(self._records.used_bytes) >= self._limits.quota_bytes:
            raise StorageFullError("the data sets that are there use up all their room: delete some of them")
        if len(await self.all()) >= self._limits.max_jobs:
            raise TooManyDatasetsError(f"there are {self._limits.max_jobs} data sets already: delete some of them")
        job = await self._runner.offload(
            self._records.create, spec, order.name, measure=order.measure_usefulness, webhook=order.webhook
        )
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
            if not 1 <= total <= self._limits.max_pictures:
                raise InvalidRequestError(
                    "counts", f"a data set may have 1 to {self._limits.max_pictures} pictures, and not {total}"
                )
            if (order.seed or 0) + total - 1 > MAX_SEED:
                raise InvalidRequestError("seed", "the last picture's seed, seed + total - 1, would pass the largest seed")
            if order.format == "idx" and len(names) > MAX_IDX_CLASSES:
                raise InvalidRequestError("format", f"IDX files hold at most {MAX_IDX_CLASSES} classes")
            self._check_proof(order, served)
        name, version = served.key
        seed = random_seed(total) if order.seed is None else order.seed
        return Spec(
            name,
            version,
            names,
            tuple(counts),
            seed,
            order.truncation,
            order.format,
            order.shard_size,
            order.split,
            order.filter,
        )

    def _check_proof(self, order: DatasetOrder, served: Served) -> None:
        """Raises `InvalidRequestError` for what can only be had of models that were published with a proof."""
        proof = served.manifest.proof
        if order.filter.max_similarity is not None and proof is None:
            raise InvalidRequestError("filter.max_similarity", f"this model {WITHOUT} an index of its training pictures")
        if order.filter.reads and (proof is None or FILTER not in proof.readers):
            limit = "max_confidence" if order.filter.min_confidence is None else "min_confidence"
            raise InvalidRequestError(f"filter.{limit}", f"this model {WITHOUT} a classifier to filter with")
        if order.measure_usefulness and (proof is None or proof.real is None):
            raise InvalidRequestError(
                "measure_usefulness", f"this model {WITHOUT} real pictures: send some to POST /v1/datasets/{{id}}/report later"
            )

    async def measure(self, identifier: str, archive: bytes | None) -> Job:
        """Measures the usefulness of a data set that is finished, on real pictures of the model or in a zip.

        Raises `GoneError`, `NotFinishedError`, and what is wrong with the request as the engine's errors.
        """
        job = await self.get(identifier)
        served = self._engine.find(f"{job.spec.model}@{job.spec.version}", FROM_LATENTS)
        proof, output = served.manifest.proof, served.manifest.output
        with about(served):
            if not job.spec.label_names:
                raise InvalidRequestError("real", "the data set has no labels, so there is nothing to learn from it")
            if archive is None and (proof is None or proof.real is None):
                raise InvalidRequestError("real", f"this model {WITHOUT} real pictures: send some, as a zip of class folders")
        if job.status != SUCCEEDED:
            raise NotFinishedError(
                f"the data set is {job.status}; GET /v1/datasets/{identifier}/events tells when it is finished"
            )
        if archive is None:
            await self._runner.offload(self._storage.remove, identifier, REAL)  # of an earlier report
        else:
            shape = (output.height, output.width, output.channels)
            try:
                real = await self._engine.offload(of_zip, archive, job.spec.label_names, shape)
            except RealSetError as error:
                raise InvalidRequestError("real", str(error)) from None
            await self._runner.offload(self._keep_real, identifier, real.pack())
        if not await self._runner.offload(self._records.measure, identifier):
            raise NotFinishedError("the data set is being worked on again already")
        self._runner.tell()
        return await self.get(identifier)

    def _keep_real(self, identifier: str, packed: bytes) -> None:
        with self._storage.write(identifier, REAL) as out:
            out.write(packed)

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
