"""The threads that touch the device. Each draws a batch and encodes it, while the others draw theirs."""

import functools
import logging
import threading
import time

import numpy as np

from app.engine.device import Answers, Device, Network, Rows
from app.engine.errors import ExecutionFailedError
from app.engine.jobs import Made, Share, tell
from app.engine.orders import Drawn
from app.engine.plan import rows_of
from app.engine.queue import Queue
from app.telemetry import Metrics

log = logging.getLogger(__name__)


class Lanes:
    """As many threads as the device works with side by side, each taking batches from the queue until it closes."""

    def __init__(self, device: Device, queue: Queue, metrics: Metrics) -> None:
        self._device = device
        self._queue = queue
        self._metrics = metrics
        self._threads = [threading.Thread(target=self._live, name=f"lane-{i}", daemon=True) for i in range(device.lanes)]

    def start(self) -> None:
        """Starts the threads. Call it on the event loop."""
        self._queue.draw_at_once = functools.partial(self._draw, side_by_side=1)
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits until every thread has gone home, which they do once the queue is closed."""
        for thread in self._threads:
            thread.join()

    def _live(self) -> None:
        self._device.start_thread()
        while (shares := self._queue.take()) is not None:
            self._draw(shares, side_by_side=len(self._threads))

    def _draw(self, shares: list[Share], side_by_side: int) -> None:
        try:
            self._work(shares, side_by_side)
        except BaseException:  # whatever it was: it fails this batch, and the thread lives on
            model = shares[0].job.model
            log.exception("a batch of %s@%d failed", *model.key)
            self._metrics.failed_batches.labels(model.manifest.name).inc()
            tell([s.job for s in shares], ExecutionFailedError("the pictures could not be drawn"))

    def _work(self, shares: list[Share], side_by_side: int) -> None:
        model = shares[0].job.model
        began = time.perf_counter()
        pixels = draw(shares[0].job.network, rows_of(model, shares))
        drawn_s = time.perf_counter() - began
        batch, offset = [], 0
        for share in shares:
            count = share.stop - share.start
            if made := self._encoded(share, pixels[offset : offset + count], drawn_s):
                batch.append(made)
            offset += count
        self._queue.deliver(batch)
        seconds = time.perf_counter() - began
        self._queue.measured(sum((s.stop - s.start) * s.job.pixels for s in shares) * side_by_side, seconds)
        self._metrics.drawn(*model.key, len(pixels), drawn_s, seconds - drawn_s)

    def _encoded(self, share: Share, pixels: Answers, drawn_s: float) -> Made | None:
        """Makes of each picture what its caller wants of it. One that can't be made fails its own request only."""
        job, plan = share.job, share.plan
        began = time.perf_counter()
        try:
            pieces = [
                job.each(
                    Drawn(job.model, pixels[i], plan.seeds[share.start + i], plan.labels[share.start + i], plan.truncation)
                )
                for i in range(len(pixels))
            ]
        except Exception:
            log.exception("a picture of %s@%d could not be encoded", *job.model.key)
            tell([job], ExecutionFailedError("the pictures could not be encoded"))
            return None
        return Made(share, pieces, drawn_s, time.perf_counter() - began)


def draw(network: Network, rows: Rows) -> Answers:
    """All rows; in halves, and halves of halves, where the device has no memory for so many at once."""
    try:
        return network.draw(rows)
    except MemoryError:
        half = len(rows[0]) // 2
        if not half:
            raise
        log.warning("no memory for %d pictures at once: drawing them in two parts", len(rows[0]))
        return np.concatenate([draw(network, tuple(r[:half] for r in rows)), draw(network, tuple(r[half:] for r in rows))])
