"""The models of the zoo and their networks: found by name, kept in memory, brought back when they are asked for again."""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.engine.catalog import Broken, Catalog, Key, Served
from app.engine.device import Device, Network
from app.engine.errors import DeadlineExceededError, EngineError, ModelUnavailableError, WrongTaskError
from app.engine.loading import load, load_part
from app.engine.residents import Resident, Residents
from app.telemetry import Metrics
from models.checkpoint import Checkpoint
from models.errors import ModelError
from models.tasks import Task

log = logging.getLogger(__name__)


class Library:
    """What can be served, in step with the folder."""

    def __init__(
        self, zoo: Path, default_model: str, budget_bytes: int | None, rescan_s: float, device: Device, metrics: Metrics
    ) -> None:
        self._device = device
        self._metrics = metrics
        self._budget_bytes = budget_bytes
        self._rescan_s = rescan_s
        self._gone_through = asyncio.Event()
        self.catalog = Catalog(zoo, default_model, self._verify)
        self.residents = Residents(budget_bytes, metrics)
        self._loading: dict[tuple[Key, str], asyncio.Future[Resident]] = {}  # one load for all who wait for the same networks
        self._scanner = ThreadPoolExecutor(1, thread_name_prefix="catalog", initializer=device.start_thread)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader", initializer=device.start_thread)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Follows the folder inside the context, and loads what is asked for."""
        watch = asyncio.create_task(self._watch(), name="catalog")
        try:
            yield
        finally:
            self.catalog.stop()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            for pool in (self._scanner, self._loader):
                await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)

    async def gone_through(self) -> None:
        """Returns once every entry has been loaded or refused for the first time."""
        await self._gone_through.wait()

    def find(self, reference: str | None, tasks: tuple[Task, ...]) -> Served:
        """The model to use. Raises `UnknownModelError`, `ModelUnavailableError` or `WrongTaskError`."""
        if reference is None:
            return self.catalog.first_for(tasks)
        served = self.catalog.find(reference)
        with about(served):
            if served.manifest.task not in tasks:
                raise WrongTaskError(served.manifest.name, served.manifest.task)
        return served

    async def resident(self, served: Served, deadline: float) -> Resident:
        """A model's networks, read again if they are not in memory. Raises as `part` does."""
        return self.residents.get(served.key) or await self._brought(served, "", deadline)

    async def part(self, served: Served, part: str, deadline: float) -> Network:
        """One of the networks that few ask for (see `load_part`), made when it is asked for first.

        Raises `DeadlineExceededError` or `ModelUnavailableError`.
        """
        resident = await self.resident(served, deadline)
        if part not in resident.parts:
            resident = await self._brought(served, part, deadline)
        return resident.parts[part]

    async def _brought(self, served: Served, part: str, deadline: float) -> Resident:
        key = (served.key, part)
        loading = self._loading.get(key)
        if loading is None:
            work = self._bring if not part else self._bring_part
            loading = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._loader, work, served, part))
            self._loading[key] = loading
            loading.add_done_callback(lambda _: self._loading.pop(key))
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.shield(loading)  # others may be waiting for it too
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed while the model was being loaded") from None
        except ModelError as error:
            raise ModelUnavailableError(str(error)) from error

    def _bring(self, served: Served, part: str = "") -> Resident:
        del part
        _, resident = self._load(served.folder)
        self.residents.admit(served.key, resident, make_room=True)
        return resident

    def _bring_part(self, served: Served, part: str) -> Resident:
        """Puts one more network beside the others. In the one loader thread, so no two replace each other."""
        network, size = load_part(served.folder, self._device, part)
        resident = self.residents.get(served.key) or self._bring(served)
        resident = dataclasses.replace(resident, size=resident.size + size, parts={**resident.parts, part: network})
        self.residents.admit(served.key, resident, make_room=True)
        return resident

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._scanner, self.catalog.rescan)
                self.residents.keep_only(self.catalog.entries.keys())
                self._metrics.models_unavailable.set(sum(isinstance(e, Broken) for e in self.catalog.entries.values()))
            except Exception:
                log.exception("looking through the zoo failed; it is tried again")
            self._gone_through.set()
            await asyncio.sleep(self._rescan_s)

    def _verify(self, folder: Path) -> Served:
        """Loads an entry, and keeps its network in memory if there is room. Raises `ModelError`."""
        checkpoint, resident = self._load(folder)
        served = Served(folder, checkpoint.manifest, checkpoint.hparams)
        self.residents.admit(served.key, resident, make_room=False)
        network = resident.network
        where = "on the event loop" if network.quick else "in lanes"
        log.info("model %s@%d runs %s pictures at a time, %d are enough, %s", *served.key, network.sizes, network.enough, where)
        return served

    def _load(self, folder: Path) -> tuple[Checkpoint, Resident]:
        """Reads an entry, puts it on the device and runs it once. Raises `ModelError`."""
        try:
            loaded = load(folder, self._device, self.residents.fits, f"{self._budget_bytes} bytes")
        except Exception:
            self._metrics.model_loads.labels("refused").inc()
            raise
        self._metrics.model_loads.labels("ready").inc()
        return loaded


class about:  # noqa: N801  # like contextlib.suppress
    """A context: errors raised inside say which model they are about."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, EngineError):
            error.model = self._served.key
