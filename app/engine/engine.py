"""The facade that routes call: models by name, and pictures by order."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from app.engine.catalog import Catalog, Served
from app.engine.device import Device
from app.engine.errors import InvalidRequestError
from app.engine.image_to_image import FROM_LATENTS, WITHOUT_LABELS, ImageToImage
from app.engine.jobs import Job
from app.engine.lanes import Lanes
from app.engine.library import Library, about
from app.engine.loading import at_side
from app.engine.orders import (
    ArithmeticOrder,
    BetweenOrder,
    Drawing,
    DrawOrder,
    Each,
    InterpolateOrder,
    Walk,
    its_pixels,
)
from app.engine.plan import Plan, first_label, plan_arithmetic, plan_between, plan_draw, plan_interpolate, resolution_of
from app.engine.queue import Queue
from app.engine.residents import Residents
from app.telemetry import Metrics
from models.tasks import Task

P = ParamSpec("P")
T = TypeVar("T")
Order = TypeVar("Order", DrawOrder, InterpolateOrder, BetweenOrder, ArithmeticOrder)

WITH_CODES = (Task.CODES,)
CONDITIONAL = (Task.CONDITIONAL,)
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
    progress_s: float = 5.0  # how often the log tells how far a picture of many tiles has come


class Engine:
    """Serves the zoo from one device. Use as `async with engine.running():`."""

    def __init__(self, config: EngineConfig, device: Device, metrics: Metrics) -> None:
        self.device = device
        self._config = config
        self._metrics = metrics
        self._queue = Queue(device.lanes, config.max_queue_pixels, metrics)
        self._lanes = Lanes(device, self._queue, metrics)
        self._library = Library(config.zoo, config.default_model, config.memory_budget_bytes, config.rescan_s, device, metrics)
        self._helpers = ThreadPoolExecutor(HELPER_THREADS, thread_name_prefix="helper", initializer=device.start_thread)
        self.pictures = ImageToImage(
            self._library,
            self._queue,
            self.offload,
            max_pixels=config.max_pixels,
            tile_pixels=config.tile_pixels,
            progress_s=config.progress_s,
        )
        self._draining = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves inside the context. On leaving it, finishes what was accepted, then stops every thread."""
        self._lanes.start()
        try:
            async with self._library.open():
                try:
                    yield
                finally:
                    self.stop_accepting()
        finally:
            await self._queue.drain()
            self._queue.close()
            await asyncio.to_thread(self._helpers.shutdown, wait=True, cancel_futures=True)
            await asyncio.to_thread(self._lanes.join)

    @property
    def catalog(self) -> Catalog:
        """What the zoo holds."""
        return self._library.catalog

    @property
    def residents(self) -> Residents:
        """The networks in memory."""
        return self._library.residents

    async def models_loaded(self) -> None:
        """Returns once every model of the zoo has been loaded or refused."""
        await self._library.gone_through()

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
        return self._library.find(reference, tasks)

    async def sample(self, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """Pictures of a model without classes."""
        served = self.find(order.model, fitting(order, WITHOUT_LABELS))
        return await self._draw(await self._job(served, order, order.n, plan_draw, timeout_s, each))

    async def generate(self, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """Pictures of a conditional model."""
        return await self._draw(
            await self._job(self.find(order.model, CONDITIONAL), order, order.n, plan_draw, timeout_s, each)
        )

    async def any_task(self, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """Pictures of a model with or without classes."""
        job = await self._job(self.find(order.model, fitting(order, FROM_LATENTS)), order, order.n, plan_draw, timeout_s, each)
        return await self._draw(job)

    async def in_bulk(self, order: DrawOrder, timeout_s: float, each: Each = its_pixels) -> Drawing:
        """The same, giving way to all requests."""
        job = await self._job(self.find(order.model, FROM_LATENTS), order, order.n, plan_draw, timeout_s, each)
        job.bulk = True
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

    def most_pictures(self, served: Served) -> int:
        """How many pictures of a model one order may ask for."""
        return self._config.max_pixels // served.pixels

    def resolution_of(self, served: Served, order: DrawOrder) -> int:
        """The side of an order's pictures, px. Raises `InvalidRequestError`."""
        with about(served):
            return resolution_of(served, order.resolution)

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
            side = resolution_of(served, order.resolution)
            if count * side**2 > self._config.max_pixels:
                most = self._config.max_pixels // side**2
                raise InvalidRequestError("n", f"a request may ask for at most {most} pictures of this model, and not {count}")
            deadline = time.monotonic() + timeout_s
            resident = self.residents.get(served.key)  # held from now on: its version may be removed at any moment
            at_once = count <= PLANNED_AT_ONCE or (isinstance(order, DrawOrder) and order.z is None)
            plan = plan_of(served, order) if at_once else await self.offload(plan_of, served, order)
            resident = resident or await self._library.resident(served, deadline)
            network = resident.network
            if side != served.resolutions[-1]:
                network = await self._library.part(served, at_side(side), deadline)
        done = asyncio.get_running_loop().create_future()
        return Job(served, network, plan, each, deadline, side**2, done)


def fitting(order: DrawOrder, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Those of some tasks whose models an order can mean: one that sets codes means a model that has any."""
    return WITH_CODES if order.codes and order.model is None else tasks
