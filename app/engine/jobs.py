"""What a request becomes in the queue, and how its caller learns that it is done."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.engine.catalog import Served
from app.engine.device import Network
from app.engine.errors import EngineError
from app.engine.orders import Each
from app.engine.plan import Part, Plan, ReadyPlan
from app.engine.tiles import TilePlan

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """The pictures of one request, on their way. The queue's lock guards what changes."""

    model: Served
    network: Network
    plan: Plan | TilePlan | ReadyPlan
    each: Each  # what is made of every picture, in the lane that drew it
    deadline: float  # seconds, of `time.monotonic`
    pixels: int  # of what each row becomes
    done: asyncio.Future[None]
    submitted_at: float = field(default_factory=time.monotonic)
    started_at: float | None = None
    taken: int = 0
    finished: int = 0
    given_up: bool = False  # nobody waits for it any more
    bulk: bool = False  # nobody waits for a single one of them
    arrived: asyncio.Event | None = None  # set whenever pictures are ready, for a caller who takes them as they come
    pieces: list[Any] = field(default_factory=list)
    inference_s: float = 0.0  # summed over lanes
    encode_s: float = 0.0

    def __post_init__(self) -> None:
        self.pieces = [None] * self.size

    @property
    def size(self) -> int:
        """How many pictures the request asked for."""
        return len(self.plan)


@dataclass(frozen=True)
class Share(Part):
    """Pictures `start` to `stop` of a job, as part of one forward."""

    job: Job


@dataclass(frozen=True)
class Made:
    """What became of a share."""

    share: Share
    pieces: Sequence[Any]
    inference_s: float
    encode_s: float


def tell(jobs: Sequence[Job], error: EngineError | None = None) -> None:
    """Tells the jobs' callers that pictures are ready, or why they won't be. From any thread."""

    def on_the_loop() -> None:
        for job in jobs:
            if job.arrived is not None:
                job.arrived.set()
            if job.done.done():
                continue
            if error is not None:
                job.done.set_exception(error)
            elif job.finished == job.size:
                job.done.set_result(None)

    if not jobs:
        return
    try:
        jobs[0].done.get_loop().call_soon_threadsafe(on_the_loop)  # waking the loop costs more than what it does then
    except RuntimeError:  # the loop has been closed: nobody waits
        log.debug("a finished request has nobody to go to")
