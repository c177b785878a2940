"""Pictures in, pictures (or latents, or scores) out. Routes reach it as `engine.pictures`."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.engine.answering import answer, ask
from app.engine.catalog import Served
from app.engine.device import Answers, Network, Pixels
from app.engine.errors import InvalidRequestError, TooLargeError, WrongTaskError
from app.engine.inpainting import (
    Canvas,
    blend_in,
    canvas,
    disagreement,
    distances,
    filled,
    one_pass,
    searched,
    starts,
)
from app.engine.jobs import Job
from app.engine.library import Library, about
from app.engine.loading import CLASSIFIER, DISCRIMINATOR, SEARCH
from app.engine.orders import (
    Answered,
    Classified,
    ClassifyOrder,
    Drawing,
    Filled,
    InpaintOrder,
    Projected,
    ProjectOrder,
    Scored,
    ScoreOrder,
    TranslateOrder,
    its_pixels,
)
from app.engine.plan import Plan, ReadyPlan, label_index
from app.engine.queue import Queue
from app.engine.tiles import TilePlan
from models.family import ClassifyingHParams, TranslatorHParams
from models.inversion import LEG, STEPS, first_state
from models.latents import one_hot
from models.pixels import from_uint8
from models.tasks import Task

TRANSLATION = (Task.TRANSLATION,)
SUPER_RESOLUTION = (Task.SUPER_RESOLUTION,)
WITHOUT_LABELS = (Task.UNCONDITIONAL, Task.CODES)
FROM_LATENTS = (*WITHOUT_LABELS, Task.CONDITIONAL)
FILLING = (Task.INPAINTING, *FROM_LATENTS)  # in one pass where a model has learned to, else by search
STEP_COST = 3  # forward passes: a gradient takes two

log = logging.getLogger(__name__)

Offload = Callable[..., Awaitable[Any]]


@dataclass
class Work:
    """What one request has cost so far, and until when it may go on."""

    model: Served
    deadline: float  # seconds, of `time.monotonic`
    queue_ms: float = 0.0
    inference_ms: float = 0.0


class ImageToImage:
    """The picture endpoints. `offload` runs plain functions in a helper thread."""

    def __init__(
        self, library: Library, queue: Queue, offload: Offload, *, max_pixels: int, tile_pixels: int, progress_s: float
    ) -> None:
        self._library = library
        self._queue = queue
        self._offload = offload
        self._max_pixels = max_pixels
        self._tile_pixels = tile_pixels
        self._progress_s = progress_s

    async def translate(self, order: TranslateOrder, timeout_s: float) -> Answered:
        """The answer of a translation model."""
        return await self._answer(self._library.find(order.model, TRANSLATION), order, timeout_s)

    async def upscale(self, order: TranslateOrder, timeout_s: float) -> Answered:
        """The answer of a super-resolution model."""
        return await self._answer(self._library.find(order.model, SUPER_RESOLUTION), order, timeout_s)

    def most_to_upscale(self, model: str | None) -> int:
        """How many pixels a picture may have for its enlargement to be no more than is made. Raises as `upscale` does."""
        hparams = self._library.find(model, SUPER_RESOLUTION).hparams
        assert isinstance(hparams, TranslatorHParams)  # by its task
        return self._max_pixels // hparams.scale**2

    async def inpaint(self, order: InpaintOrder, timeout_s: float) -> Filled:
        """Ways to fill a hole."""
        learned = any(s.manifest.task is Task.INPAINTING for s in self._library.catalog.healthy())
        served = self._library.find(order.model, FILLING[:1] if order.model is None and learned else FILLING)
        height, width = order.hole.shape
        seeds = range(order.seed, order.seed + order.n)
        work = Work(served, time.monotonic() + timeout_s)
        with about(served):
            if order.n * height * width > self._max_pixels:
                most = self._max_pixels // (height * width)
                raise TooLargeError(
                    f"{order.n} pictures of {width}x{height} px are more than the {self._max_pixels} px that are made at once: "
                    + (f"ask for at most {most}" if most else "send a smaller one")
                )
            question = await self._canvas(served, order.picture, order.hole, order.fit)
            label: int | None = None
            if served.manifest.task is Task.INPAINTING and order.label is None:
                made = await self._filled_at_once(work, question, seeds)
            else:
                label = await self._label(work, order.label, question)
                z = await self._search(work, question, starts(seeds, served.z_dim), label)
                made = await self._offload(blend_in, question, await self._drawn(work, z, [label] * order.n))
        pictures = [await self._offload(filled, question, m, order.picture, order.hole) for m in made]
        apart = await self._offload(disagreement, pictures) if order.n > 1 else None
        return Filled(self._drawing(work, pictures, seeds, [label] * order.n), apart)

    async def project(self, order: ProjectOrder, timeout_s: float) -> Projected:
        """The latent of the picture nearest to one."""
        served = self._library.find(order.model, FROM_LATENTS)
        work = Work(served, time.monotonic() + timeout_s)
        with about(served):
            question = await self._canvas(served, order.picture, None, order.fit)
            label = await self._label(work, order.label, question)
            z = await self._search(work, question, torch.zeros(1, served.z_dim), label)
            made = await self._drawn(work, z, [label])
        return Projected(z[0].tolist(), distances(question, made)[0], self._drawing(work, made, [None], [label]))

    async def discriminate(self, order: ScoreOrder, timeout_s: float) -> Scored:
        """What a model's discriminator says of pictures."""
        tasks = WITHOUT_LABELS if order.labels is None else (Task.CONDITIONAL,)
        served = self._find_with(DISCRIMINATOR, order.model, tasks)
        work = Work(served, time.monotonic() + timeout_s)
        with about(served):
            y = self._classes_to_score(served, order)
            logits = await self._judged(work, DISCRIMINATOR, order.pictures, y)
        return Scored(served, [float(x) for x in logits], work.queue_ms, work.inference_ms)

    async def classify(self, order: ClassifyOrder, timeout_s: float) -> Classified:
        """What a model's classifier takes a picture for."""
        served = self._find_with(CLASSIFIER, order.model, FROM_LATENTS)
        assert isinstance(served.hparams, ClassifyingHParams)  # as all are that may hold a classifier
        work = Work(served, time.monotonic() + timeout_s)
        with about(served):
            (probabilities,) = await self._judged(work, CLASSIFIER, [order.picture])
        names = served.hparams.label_names
        likeliest_first = sorted(enumerate(probabilities.tolist()), key=lambda found: -found[1])
        return Classified(served, [(i, names[i], p) for i, p in likeliest_first], work.queue_ms, work.inference_ms)

    async def read(self, served: Served, part: str, pictures: Pixels, timeout_s: float) -> Answers:
        """Class probabilities, float32 (n, classes), of pictures uint8 (n, H, W, C) of the model's own size. Bulk work.

        `part`: `FILTER` or `JUDGE`. Raises `ModelUnavailableError` for a model that was published without them.
        """
        work = Work(served, time.monotonic() + timeout_s)
        with about(served):
            network = await self._library.part(served, part, work.deadline)
            rows = await self._offload(from_uint8, torch.from_numpy(pictures).permute(0, 3, 1, 2))
            plan = ReadyPlan((rows,), [None] * len(rows), [None] * len(rows))
            found = await self._run(work, network, plan, bulk=True)
        return np.stack(found)

    async def _answer(self, served: Served, order: TranslateOrder, timeout_s: float) -> Answered:
        work = Work(served, time.monotonic() + timeout_s)
        with about(served):
            resident = await self._library.resident(served, work.deadline)
            question = await self._offload(ask, served, order, max_pixels=self._max_pixels, tile_pixels=self._tile_pixels)
            tiling = question.plan.tiling
            network = resident.network
            if order.fidelity is not None and resident.blend is not None:
                network = await self._offload(resident.blend, order.fidelity)
            elif question.part or (tiling.height, tiling.width) != native_size(served):
                network = resident.loose[question.part]
            pieces = await self._run(work, network, question.plan, tiling.height * tiling.width * question.scale**2)
        made = await self._offload(answer, question, pieces)
        return Answered(served, made, work.queue_ms, work.inference_ms)

    async def _filled_at_once(self, work: Work, question: Canvas, seeds: Sequence[int]) -> list[Any]:
        hparams = work.model.hparams
        assert isinstance(hparams, TranslatorHParams)  # by its task
        resident = await self._library.resident(work.model, work.deadline)
        rows = one_pass(question, seeds, hparams.noise_dim)
        return await self._run(work, resident.network, ReadyPlan(rows, seeds, [None] * len(seeds)))

    async def _search(self, work: Work, question: Canvas, z: Tensor, label: int | None) -> Tensor:
        """The latents (n, z_dim) that a search from `z` ends at."""
        network = await self._library.part(work.model, SEARCH, work.deadline)
        state = first_state(z)
        y = one_hots(work.model, [label] * len(z))
        for _ in range(STEPS // LEG):
            state = await self._leg(work, network, question, state, y)
        return state[:, : z.shape[1]]

    async def _leg(self, work: Work, network: Network, question: Canvas, state: Tensor, y: tuple[Tensor, ...]) -> Tensor:
        plan = ReadyPlan((*searched(question, len(state)), state, *y), [None] * len(state), [None] * len(state))
        found = await self._run(work, network, plan, work.model.pixels * LEG * STEP_COST)
        return torch.from_numpy(np.stack(found))

    async def _label(self, work: Work, given: int | str | None, question: Canvas) -> int | None:
        """The class to search in: as given, or that which comes nearest in the search's first steps; None: no classes."""
        names = work.model.manifest.labels
        if given is not None:
            return label_index(names, given)
        if len(names) < 2:
            return 0 if names else None
        network = await self._library.part(work.model, SEARCH, work.deadline)
        every = list(range(len(names)))
        state = first_state(torch.zeros(len(names), work.model.z_dim))
        state = await self._leg(work, network, question, state, one_hots(work.model, every))
        made = await self._drawn(work, state[:, : work.model.z_dim], every)
        return int(np.argmin(distances(question, made)))

    async def _drawn(self, work: Work, z: Tensor, labels: Sequence[int | None]) -> list[Any]:
        """The pictures of latents, as any other request gets them."""
        resident = await self._library.resident(work.model, work.deadline)
        return await self._run(work, resident.network, Plan([None] * len(z), labels, 1.0, z))

    async def _run(
        self,
        work: Work,
        network: Network,
        plan: Plan | TilePlan | ReadyPlan,
        pixels: int | None = None,
        *,
        bulk: bool = False,
    ) -> list[Any]:
        """What a network makes of every row. `pixels`: what a row counts in the queue; default: as much as a picture."""
        done = asyncio.get_running_loop().create_future()
        job = Job(work.model, network, plan, its_pixels, work.deadline, pixels or work.model.pixels, done, bulk=bulk)
        telling = asyncio.create_task(self._tell_progress(job)) if isinstance(plan, TilePlan) and len(plan) > 1 else None
        try:
            await self._queue.submit(job)
        finally:
            if telling is not None:
                telling.cancel()
        work.queue_ms += ((job.started_at or job.submitted_at) - job.submitted_at) * 1000
        work.inference_ms += job.inference_s * 1000
        return job.pieces

    async def _tell_progress(self, job: Job) -> None:
        """Logs now and then how far a picture of many tiles has come, until it is cancelled."""
        while True:
            await asyncio.sleep(self._progress_s)
            told = f"{job.finished} of {job.size} tiles of {job.model.key[0]}@{job.model.key[1]} are done"
            if job.finished and job.started_at is not None:
                left_s = (time.monotonic() - job.started_at) / job.finished * (job.size - job.finished)
                told += f", about {left_s:.0f} s left"
            log.info(told)

    async def _canvas(self, served: Served, picture: Any, hole: Any, fit: Any) -> Canvas:
        question: Canvas = await self._offload(canvas, picture, hole, served.hparams.resolution, served.hparams.channels, fit)
        return question

    def _drawing(self, work: Work, pictures: Any, seeds: Sequence[int | None], labels: Sequence[int | None]) -> Drawing:
        return Drawing(work.model, pictures, seeds, labels, None, work.queue_ms, work.inference_ms, 0.0)

    async def _judged(self, work: Work, part: str, pictures: Sequence[Pixels], y: tuple[Tensor, ...] = ()) -> list[Any]:
        """What a network that gives numbers says of each picture (H, W, 3), and of the class weights beside it."""
        network = await self._library.part(work.model, part, work.deadline)
        questions = [await self._canvas(work.model, picture, None, "resize") for picture in pictures]
        rows = (torch.cat([question.target for question in questions]), *y)
        return await self._run(work, network, ReadyPlan(rows, [None] * len(questions), [None] * len(questions)))

    def _find_with(self, part: str, reference: str | None, preferred: tuple[Task, ...]) -> Served:
        """The model asked for, or the first that does one of `preferred` and ships that part. Raises `WrongTaskError`, too."""
        served = self._library.find(reference, FROM_LATENTS)
        if reference is None:
            every = (served, *self._library.catalog.healthy())
            served = next((s for s in every if s.manifest.task in preferred and part in s.manifest.extras), served)
        with about(served):
            if part not in served.manifest.extras:
                raise WrongTaskError(served.manifest.name, served.manifest.task, f"ships no {part}")
        return served

    def _classes_to_score(self, served: Served, order: ScoreOrder) -> tuple[Tensor, ...]:
        names = served.manifest.labels
        if order.labels is None:
            if not names:
                return ()
            raise InvalidRequestError("label", "this model's discriminator judges pictures as those of a class: say which")
        if len(order.labels) != len(order.pictures):
            count = f"{len(order.labels)} labels for {len(order.pictures)} pictures"
            raise InvalidRequestError("label", f"{count}: give one, or one a picture")
        return one_hots(served, [label_index(names, label) for label in order.labels])


def one_hots(served: Served, labels: Sequence[int | None]) -> tuple[Tensor, ...]:
    """Class weights (n, classes), or nothing for models without classes."""
    classes = len(served.manifest.labels)
    return (one_hot([label or 0 for label in labels], classes),) if classes else ()


def native_size(served: Served) -> tuple[int, int]:
    """Height and width of the pictures that a model was given while it learned."""
    hparams = served.hparams
    scale = hparams.scale if isinstance(hparams, TranslatorHParams) else 1
    return hparams.resolution // scale, hparams.resolution // scale
