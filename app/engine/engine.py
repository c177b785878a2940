"""The facade that routes call: models by name, and pictures by order."""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from app.engine.answering import answer, ask
from app.engine.catalog import Broken, Catalog, Key, Served
from app.engine.device import Device
from app.engine.errors import DeadlineExceededError, EngineError, InvalidRequestError, ModelUnavailableError, WrongTaskError
from app.engine.lanes import Lanes
from app.engine.loading import load
from app.engine.orders import (
    Answered,
    ArithmeticOrder,
    BetweenOrder,
    Drawing,
    DrawOrder,
    Each,
    InterpolateOrder,
    TranslateOrder,
    Walk,
    its_pixels,
)
from app.engine.plan import Plan, first_label, plan_arithmetic, plan_between, plan_draw, plan_interpolate
from app.engine.queue import Job, Queue
from app.engine.residents import Resident, Residents
from app.telemetry import Metrics
from models.checkpoint import Checkpoint
from models.errors import ModelError
from models.family import TranslatorHParams
from models.tasks import Task

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Order = TypeVar("Order", DrawOrder, InterpolateOrder, BetweenOrder, ArithmeticOrder)

TRANSLATION = (Task.TRANSLATION,)
SUPER_RESOLUTION = (Task.SUPER_RESOLUTION,)
UNCONDITIONAL = (Task.UNCONDITIONAL,)
CONDITIONAL = (Task.CONDITIONAL,)
FROM_LATENTS = (*UNCONDITIONAL, *CONDITIONAL)
HELPER_THREADS = 2  # for what takes too long for the event loop and is no work of a lane
PLANNED_AT_ONCE = 8  # so few given latents are read sooner than another thread is woken


@dataclass(frozen=True)
class EngineConfig:
    """What the engine needs to know besides its device."""

    zoo: Path
    default_model: str
    max_pixels: int  # of one request
    tile_pixels: int  # of a picture that is given, at a time
    max_queue_pixels: int
    memory_budget_bytes: int | None
    rescan_s: float


class Engine:
    """Serves the zoo from one device. Use as `async with engine.running():`."""

    def __init__(self, config: EngineConfig, device: Device, metrics: Metrics) -> None:
        self.device = device
        self._config = config
        self._metrics = metrics
        self._queue = Queue(device.lanes, config.max_queue_pixels, metrics)
        self._lanes = Lanes(device, self._queue, metrics)
        self.catalog = Catalog(config.zoo, config.default_model, self._verify)
        self.residents = Residents(config.memory_budget_bytes, metrics)
        self._loading: dict[Key, asyncio.Future[Resident]] = {}  # one load for all who wait for the same model
        self._scanner = ThreadPoolExecutor(1, thread_name_prefix="catalog", initializer=device.start_thread)
        self._helpers = ThreadPoolExecutor(HELPER_THREADS, thread_name_prefix="helper", initializer=device.start_thread)
        self._draining = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves inside the context. On leaving it, finishes what was accepted, then stops every thread."""
        self._lanes.start()
        watch = asyncio.create_task(self._watch_zoo(), name="catalog")
        try:
            yield
        finally:
            self.stop_accepting()
            self.catalog.stop()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await self._queue.drain()
            self._queue.close()
            for pool in (self._scanner, self._helpers):
                await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
            await asyncio.to_thread(self._lanes.join)

    def stop_accepting(self) -> None:
        """From now on the service is not ready: it is about to stop."""
        self._draining = True

    def note_age(self) -> None:
        """Brings the metric of the queue's age up to date."""
        self._metrics.queue_age.set(self._queue.age_s())

    @property
    def queued_pixels(self) -> int:
        """Pixels of all requests that are waiting or being drawn."""
        return self._queue.queued_pixels

    async def offload(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function of plain data in a helper thread, so that the event loop never waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._helpers, functools.partial(function, *args, **kwargs))

    def why_not_ready(self) -> str | None:
        """None when the default model is warm and the service takes work, else the reason."""
        if self._draining:
            return "the service is shutting down"
        if self.catalog.default():
            return None
        if not self.catalog.scanned:
            return "the models are still being loaded"
        if not self.catalog.entries:
            return f"the folder of models ({self._config.zoo}) has no model in it; publish one or set GANYMEDE_MODELS_DIR"
        return "the default model can't be served; GET /v1/models says why"

    def find(self, reference: str | None, tasks: tuple[Task, ...]) -> Served:
        """The model to use. Raises `UnknownModelError`, `ModelUnavailableError` or `WrongTaskError`."""
        if reference is None:
            return self.catalog.first_for(tasks)
        served = self.catalog.find(reference)
        with about(served):
            if served.manifest.task not in tasks:
                raise WrongTaskError(served.manifest.name, served.manifest.task)
        return served

    async def sample(self, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """Pictures of an unconditional model."""
        return await self._draw(
            await self._job(self.find(order.model, UNCONDITIONAL), order, order.n, plan_draw, timeout_s, each)
        )

    async def generate(self, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """Pictures of a conditional model."""
        return await self._draw(
            await self._job(self.find(order.model, CONDITIONAL), order, order.n, plan_draw, timeout_s, each)
        )

    async def any_task(self, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """Pictures of a model with or without classes."""
        job = await self._job(self.find(order.model, FROM_LATENTS), order, order.n, plan_draw, timeout_s, each)
        return await self._draw(job)

    async def picture(self, served: Served, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """A picture of a model that was found already."""
        return await self._draw(await self._job(served, order, order.n, plan_draw, timeout_s, each))

    async def interpolate(self, order: InterpolateOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """The frames of a walk between latents, in order."""
        job = await self._job(self.find(order.model, FROM_LATENTS), order, order.frames, plan_interpolate, timeout_s, each)
        return await self._draw(job)

    async def walk(self, order: InterpolateOrder, timeout_s: float, each: Each) -> Walk:
        """As `interpolate`, but returns as soon as the first frame is ready."""
        served = self.find(order.model, FROM_LATENTS)
        job = await self._job(served, order, order.frames, plan_interpolate, timeout_s, each)
        pieces = self._as_they_come(job)
        with about(served):
            first = await anext(pieces)

        async def all_of_them() -> AsyncGenerator[Any]:
            async with contextlib.aclosing(pieces):
                yield first
                async for piece in pieces:
                    yield piece

        return Walk(served, all_of_them(), job.plan.seeds, job.plan.labels)

    async def _as_they_come(self, job: Job) -> AsyncGenerator[Any]:
        job.arrived = arrived = asyncio.Event()
        drawing = asyncio.create_task(self._queue.submit(job), name="walk")
        drawing.add_done_callback(lambda _: arrived.set())
        try:
            for i in range(job.size):
                while job.pieces[i] is None:
                    if drawing.done():
                        drawing.result()  # raises what went wrong
                    await arrived.wait()
                    arrived.clear()
                yield job.pieces[i]
                job.pieces[i] = None  # sent: it need not be kept
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)

    async def between(self, order: BetweenOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """One picture on the way between two latents."""
        job = await self._job(self.find(order.model, FROM_LATENTS), order, 1, plan_between, timeout_s, each)
        return await self._draw(job)

    async def arithmetic(self, order: ArithmeticOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """One picture of a weighted sum of latents."""
        job = await self._job(self.find(order.model, FROM_LATENTS), order, 1, plan_arithmetic, timeout_s, each)
        return await self._draw(job)

    async def translate(self, order: TranslateOrder, timeout_s: float) -> Answered:
        """The answer of a translation model."""
        return await self._answer(self.find(order.model, TRANSLATION), order, timeout_s)

    async def upscale(self, order: TranslateOrder, timeout_s: float) -> Answered:
        """The answer of a super-resolution model."""
        return await self._answer(self.find(order.model, SUPER_RESOLUTION), order, timeout_s)

    async def _answer(self, served: Served, order: TranslateOrder, timeout_s: float) -> Answered:
        deadline = time.monotonic() + timeout_s
        limits = {"max_pixels": self._config.max_pixels, "tile_pixels": self._config.tile_pixels}
        with about(served):
            resident = self.residents.get(served.key) or await self._brought_back(served, deadline)
            question = await self.offload(ask, served, order, **limits)
            tiling = question.plan.tiling
            network = resident.network
            if order.fidelity is not None and resident.blend is not None:
                network = await self.offload(resident.blend, order.fidelity)
            elif question.part or (tiling.height, tiling.width) != native_size(served):
                network = resident.loose[question.part]
            pixels = tiling.height * tiling.width * question.scale**2
            done = asyncio.get_running_loop().create_future()
            job = Job(served, network, question.plan, its_pixels, deadline, pixels, done)
            await self._queue.submit(job)
        made = await self.offload(answer, question, job.pieces)
        waited_s = (job.started_at or job.submitted_at) - job.submitted_at
        return Answered(served, made, waited_s * 1000, job.inference_s * 1000)

    def label_of(self, served: Served, order: DrawOrder) -> int | None:
        """The class of an order's first picture. Raises `UnknownLabelError`."""
        with about(served):
            return first_label(served, order)

    async def _draw(self, job: Job) -> Drawing:
        with about(job.model):
            await self._queue.submit(job)
        plan = job.plan
        return Drawing(
            model=job.model,
            pieces=job.pieces,
            seeds=plan.seeds,
            labels=plan.labels,
            truncation=plan.truncation,
            queue_ms=((job.started_at or job.submitted_at) - job.submitted_at) * 1000,
            inference_ms=job.inference_s * 1000,
            encode_ms=job.encode_s * 1000,
        )

    async def _job(
        self,
        served: Served,
        order: Order,
        count: int,
        plan_of: Callable[[Served, Order], Plan],
        timeout_s: float,
        each: Each,
    ) -> Job:
        """An order made ready for the queue, its model in memory."""
        with about(served):
            if count * served.pixels > self._config.max_pixels:
                most = self._config.max_pixels // served.pixels
                raise InvalidRequestError("n", f"a request may ask for at most {most} pictures of this model, and not {count}")
            deadline = time.monotonic() + timeout_s
            resident = self.residents.get(served.key)  # held from now on: its version may be removed at any moment
            at_once = count <= PLANNED_AT_ONCE or (isinstance(order, DrawOrder) and order.z is None)
            plan = plan_of(served, order) if at_once else await self.offload(plan_of, served, order)
            resident = resident or await self._brought_back(served, deadline)
        done = asyncio.get_running_loop().create_future()
        return Job(served, resident.network, plan, each, deadline, served.pixels, done)

    async def _brought_back(self, served: Served, deadline: float) -> Resident:
        """The networks of a model that is not in memory, read again."""
        loading = self._loading.get(served.key)
        if loading is None:
            loading = asyncio.ensure_future(self.offload(self._load_again, served))
            self._loading[served.key] = loading
            loading.add_done_callback(lambda _: self._loading.pop(served.key))
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.shield(loading)  # others may be waiting for it too
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed while the model was being loaded") from None
        except ModelError as error:
            raise ModelUnavailableError(str(error)) from error

    def _load_again(self, served: Served) -> Resident:
        _, resident = self._load(served.folder)
        self.residents.admit(served.key, resident, make_room=True)
        return resident

    async def _watch_zoo(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._scanner, self.catalog.rescan)
                self.residents.keep_only(self.catalog.entries.keys())
                self._metrics.models_unavailable.set(sum(isinstance(e, Broken) for e in self.catalog.entries.values()))
            except Exception:
                log.exception("looking through the zoo failed; it is tried again")
            await asyncio.sleep(self._config.rescan_s)

    def _verify(self, folder: Path) -> Served:
        """Loads an entry, and keeps its network in memory if there is room. Raises `ModelError`."""
        checkpoint, resident = self._load(folder)
        served = Served(folder, checkpoint.manifest, checkpoint.hparams)
        self.residents.admit(served.key, resident, make_room=False)
        network = resident.network
        log.info("model %s@%d runs %s pictures at a time, %d are enough", *served.key, network.sizes, network.enough)
        return served

    def _load(self, folder: Path) -> tuple[Checkpoint, Resident]:
        """Reads an entry, puts it on the device and runs it once. Raises `ModelError`."""
        try:
            loaded = load(folder, self.device, self.residents.fits, f"{self._config.memory_budget_bytes} bytes")
        except Exception:
            self._metrics.model_loads.labels("refused").inc()
            raise
        self._metrics.model_loads.labels("ready").inc()
        return loaded


def native_size(served: Served) -> tuple[int, int]:
    """Height and width of the pictures that a model was given while it learned."""
    hparams = served.hparams
    scale = hparams.scale if isinstance(hparams, TranslatorHParams) else 1
    return hparams.resolution // scale, hparams.resolution // scale


@contextlib.contextmanager
def about(served: Served) -> Iterator[None]:
    """Lets errors raised inside say which model they are about."""
    try:
        yield
    except EngineError as error:
        error.model = served.key
        raise
