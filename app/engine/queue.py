"""Groups the pictures of many requests into batches, fairly, within a bounded queue.

An idle engine starts at once; when lanes are busy, the next free one takes what has queued, and an idle one joins in when
enough has. Requests that fit in one forward go before larger ones, which get every fourth turn at least. Each turn goes to
the next model: a request for one picture waits for about one forward, however large the request before it. Of the large
ones, that with the least left to draw goes first.

Requests for a forward of a network so quick that handing it to a lane takes longer than drawing it are drawn by the event loop,
one batch between two looks at what has arrived: by then, a busy one has as many as fit. So are those of a caller who seems to
be the only one with so little, if they are over soon: a lane would begin later, and with nothing of the network in its caches.

Bulk work, of which nobody waits for a picture, is done when nothing else is there to do, but for every sixteenth turn; while
requests keep coming, by all lanes but one, so that the next finds a lane that is free.
"""

import asyncio
import itertools
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from app.engine.device import Network
from app.engine.errors import DeadlineExceededError, EngineStoppedError, OverloadedError
from app.engine.jobs import Job, Made, Share, tell
from app.telemetry import Metrics

HOPEFUL = 0.5  # share of a large request's time that may pass before it is begun: how fast the queue moves is an estimate
MAX_RETRY_AFTER_S = 60
OLDEST_TURN = 16  # every so many turns, the oldest large request goes first, however much is left of it
BULK_TURN = 16  # every so many turns, bulk work goes first
QUIET_S = 0.5  # without a request, after which all lanes may do bulk work
CROWDED_S = 0.5  # after a small request came while another was there, in which lanes draw everything but quick networks
LONE_TURN = 16  # every so many requests of somebody who seems alone, an idle lane draws: only then can be seen that others come
LARGE_TURN = 4  # every so many turns, requests larger than a forward go first: they are slowed down, and never starved


Lines = OrderedDict[Network, deque[Job]]  # only what one network takes can be drawn together


class Queue:
    """Between the event loop, where requests come from, and the lanes, where they are drawn."""

    def __init__(self, lanes: int, max_pixels: int, metrics: Metrics) -> None:
        self._lanes = lanes
        self.draw_at_once: Callable[[list[Share]], None] | None = None  # on the event loop; None: lanes draw everything
        self._max_pixels = max_pixels
        self._metrics = metrics
        self._changed = threading.Condition()  # guards everything below
        self._small: Lines = OrderedDict()  # requests that fit in one forward
        self._quick: Lines = OrderedDict()  # the same, of quick networks
        self._large: Lines = OrderedDict()
        self._bulk: Lines = OrderedDict()
        self._bulk_lanes: set[int] = set()  # that are doing bulk work
        self._requested_at = -math.inf  # when the latest request that is no bulk work came or was done
        self._turns = 0
        self._waiting_lanes = 0
        self._drawing: dict[
            int, tuple[Network, int]
        ] = {}  # by lane (its thread's number): what it is running, and of how many rows
        self._closed = False
        self._rate = 0.0  # pixels a second, as measured over the latest forwards
        # these belong to the event loop's thread
        self._pixels = 0  # of every job that somebody waits for
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._arrived = 0  # pictures that no lane was woken for yet
        self._crowded_at = -math.inf  # when a small request last came while another was there
        self._lone = 0  # requests that came since to nobody else
        self._small_jobs = 0  # requests that fit in one forward and are not answered yet

    @property
    def queued_pixels(self) -> int:
        """Pixels of all requests that are waiting or being drawn."""
        return self._pixels

    def age_s(self) -> float:
        """How long the request that has waited longest has waited to be begun, seconds. From any thread."""
        with self._changed:
            lines = itertools.chain.from_iterable(x.values() for x in (self._quick, self._small, self._large))
            waiting = [job.submitted_at for line in lines for job in line if not job.taken and not job.given_up]
        return time.monotonic() - min(waiting) if waiting else 0.0

    async def submit(self, job: Job) -> None:
        """Returns when every picture of the job is ready.

        Raises `OverloadedError`, `DeadlineExceededError`, `EngineStoppedError` or `ExecutionFailedError`. Cancelling the
        caller takes the job out of the queue.
        """
        if self._stopping:
            raise EngineStoppedError("the service is shutting down")
        pixels = job.pixels * job.size
        large = job.size > job.network.sizes[-1]
        ahead_s = self._pixels / self._rate if self._rate else 0.0
        too_late = large and ahead_s > max(1.0, HOPEFUL * (job.deadline - time.monotonic()))
        if self._pixels + pixels > self._max_pixels or too_late:  # what can't be done in time is refused now, and not then
            raise OverloadedError(self.retry_after_s())
        small = not large and not job.bulk
        self._count(pixels)
        self._small_jobs += small
        try:
            with self._changed:
                lines = self._bulk if job.bulk else self._large if large else self._small_ones(job)
                if not job.bulk:
                    self._requested_at = time.monotonic()
                lines.setdefault(job.network, deque()).append(job)
            self._begin_soon(job.size)
            timer = asyncio.get_running_loop().call_later(job.deadline - time.monotonic(), self._expire, job)
            try:
                await job.done
            finally:
                timer.cancel()
        finally:
            job.given_up = True
            self._small_jobs -= small
            self._count(-pixels)

    def _expire(self, job: Job) -> None:
        if not job.done.done():
            waited_ms = (time.monotonic() - job.submitted_at) * 1000
            job.done.set_exception(DeadlineExceededError(f"the pictures were not ready within {waited_ms:.0f} ms"))

    def retry_after_s(self) -> int:
        """In how many seconds the queue should be empty, at the measured rate: 1 … 60."""
        if not self._rate:
            return 1
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(self._pixels / self._rate)))

    async def drain(self) -> None:
        """Takes no more work, and waits until all that was accepted is done."""
        self._stopping = True
        await self._idle.wait()

    def close(self) -> None:
        """Takes no more work, fails whatever is still waiting, and sends the lanes home."""
        self._stopping = True
        with self._changed:
            self._closed = True
            everything = (self._quick, *self._all())
            left = [job for lines in everything for line in lines.values() for job in line]
            for lines in everything:
                lines.clear()
            self._changed.notify_all()
        tell(left, EngineStoppedError("the service is shutting down"))

    def _small_ones(self, job: Job) -> Lines:
        at_once = self.draw_at_once and (job.network.quick or self._seems_alone(job))
        return self._quick if at_once else self._small

    def _seems_alone(self, job: Job) -> bool:
        """Whether its caller is the only one of few pictures, and they are soon drawn: to wait for a lane would take longer."""
        now = time.monotonic()
        if self._small_jobs > 1:
            self._crowded_at = now
            self._lone = 0
        if now - self._crowded_at < CROWDED_S or job.size > job.network.sizes[0] or not job.network.soon:
            return False
        self._lone += 1
        return not self._waiting_lanes or self._lone % LONE_TURN != 0

    def _begin_soon(self, pictures: int) -> None:
        """Once the event loop has gone through what it has at hand: requests that came together are drawn together."""
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._begin)
        self._arrived += pictures

    def _begin(self) -> None:
        """Wakes lanes, and draws a batch of a quick network."""
        with self._changed:
            if self._waiting_lanes and self._startable():
                self._changed.notify(self._arrived)
            shares = self._quick_ones()
        self._arrived = 0
        if shares and self.draw_at_once:
            self.draw_at_once(shares)
            if self._quick:
                self._begin_soon(1)

    def _quick_ones(self) -> list[Share]:
        shares: list[Share] = []
        while self._quick and not shares:
            network, line = self._quick.popitem(last=False)
            self._fill(shares, line, network.sizes[-1])
            if line:
                self._quick[network] = line
        return shares

    def _count(self, pixels: int) -> None:
        self._pixels += pixels
        self._metrics.queue_pixels.set(self._pixels)
        if self._pixels:
            self._idle.clear()
        else:
            self._idle.set()

    # what follows is called by the lanes

    def take(self) -> list[Share] | None:
        """The next forward's rows, all of one model; waits for them. None: the queue is closed."""
        lane = threading.get_ident()
        with self._changed:
            self._drawing.pop(lane, None)  # what it took last is done
            self._bulk_lanes.discard(lane)
            while not self._closed:
                if shares := self._next():
                    self._drawing[lane] = shares[0].job.network, sum(share.stop - share.start for share in shares)
                    if shares[0].job.bulk:
                        self._bulk_lanes.add(lane)
                    if self._waiting_lanes and self._startable():
                        self._changed.notify()
                    return shares
                self._waiting_lanes += 1
                self._changed.wait()
                self._waiting_lanes -= 1
        return None

    def deliver(self, batch: Sequence[Made]) -> None:
        """Hands in the pictures of a batch, and wakes the callers who can go on with them."""
        awaited = []
        with self._changed:
            for made in batch:
                job = made.share.job
                job.pieces[made.share.start : made.share.stop] = made.pieces
                job.finished += len(made.pieces)
                job.inference_s += made.inference_s
                job.encode_s += made.encode_s
                if job.finished == job.size or job.arrived is not None:
                    awaited.append(job)
                if not job.bulk:
                    self._requested_at = time.monotonic()
        tell(awaited)

    def measured(self, pixels: int, seconds: float) -> None:
        """Learns from a forward, or several side by side, how fast the queue empties."""
        rate = pixels / max(seconds, 1e-6)
        with self._changed:
            self._rate = rate if not self._rate else 0.9 * self._rate + 0.1 * rate

    def _next(self) -> list[Share]:
        self._turns += 1
        first, second = self._small, self._large
        if self._turns % LARGE_TURN == 0:
            first, second = second, first
        bulk = self._may_do_bulk_work()
        if bulk and self._turns % BULK_TURN == 0 and (shares := self._from(self._bulk, OrderedDict())):
            return shares
        shares = self._from(first, second) or self._from(second, first)
        return shares or (self._from(self._bulk, OrderedDict()) if bulk else [])

    def _all(self) -> tuple[Lines, ...]:
        return self._small, self._large, self._bulk

    def _may_do_bulk_work(self) -> bool:
        """Whether one more lane may: all may, but for one while requests keep coming."""
        quiet = time.monotonic() - self._requested_at > QUIET_S
        return len(self._bulk_lanes) < (self._lanes if quiet else max(1, self._lanes - 1))

    def _startable(self) -> bool:
        """Whether there is work for a lane that has nothing to do."""
        ready = self._all() if self._may_do_bulk_work() else (self._small, self._large)
        return any(self._worth_a_lane(network) for lines in ready for network in lines)

    def _worth_a_lane(self, network: Network) -> bool:
        """Whether to begin on a network: at once, unless another lane draws it and will soon take the little that waits.

        A forward of few rows costs nearly as much as one of many: two lanes of small ones get less done than one of large ones.
        It is no loss while all that is there would still make small forwards of every lane.
        """
        under_way = [rows for drawn, rows in self._drawing.values() if drawn is network]
        if not under_way:
            return True
        waiting = 0
        for job in itertools.chain.from_iterable(lines.get(network, ()) for lines in self._all()):
            waiting += job.size - job.taken
            if waiting >= network.enough:
                return True
        return waiting > 0 and sum(under_way) + waiting <= self._lanes * network.enough

    def _from(self, lines: Lines, others: Lines) -> list[Share]:
        """A forward of the model whose turn it is in `lines`; room that is left goes to the same model's `others`."""
        for network in list(lines):
            line = lines[network]
            if not self._worth_a_lane(network):
                continue
            del lines[network]
            if lines is self._large:
                self._choose(line)
            shares: list[Share] = []
            room = self._fill(shares, line, self._room(line))
            if line:
                lines[network] = line  # to the end: the other models come first
            if room and network in others:
                self._fill(shares, others[network], room)
                if not others[network]:
                    del others[network]
            if shares:
                return shares
        return []

    def _choose(self, line: deque[Job]) -> None:
        """Brings to the head of a line of large requests the one with the least left to draw, or in some turns the oldest.

        Taking turns between them would make all of them late; finishing one after the other makes none later than that.
        """
        oldest = self._turns % OLDEST_TURN == 0
        chosen = min(line, key=lambda job: job.submitted_at if oldest else job.size - job.taken)
        line.remove(chosen)
        line.appendleft(chosen)

    def _room(self, line: deque[Job]) -> int:
        """How many rows a forward takes now: as many as fit, or less if that lets idle lanes help at once."""
        network = line[0].network
        most = network.sizes[-1]
        takers = 1 + self._waiting_lanes
        left = 0
        for job in line:
            left += job.size - job.taken
            if left >= most * takers:
                return most
        shared = math.ceil(left / takers)
        wanted = shared if shared >= network.enough or left <= self._lanes * network.enough else left
        return next((size for size in network.sizes if size >= wanted), most)

    def _fill(self, shares: list[Share], line: deque[Job], room: int) -> int:
        """Moves up to `room` rows from the head of a line into `shares`; passes over jobs that were given up."""
        now = time.monotonic()
        while line and room:
            job = line.popleft()
            if job.given_up or job.done.done():
                continue
            if now >= job.deadline:
                tell([job], DeadlineExceededError("the deadline passed before the pictures were begun"))
                continue
            share = Share(job.plan, job.taken, min(job.taken + room, job.size), job)
            job.taken, room = share.stop, room - (share.stop - share.start)
            if job.started_at is None:
                job.started_at = now
                self._metrics.queue_seconds.observe(now - job.submitted_at)
            shares.append(share)
            if job.taken < job.size:
                line.appendleft(job)  # no room is left then, so this ends the loop
        return room
