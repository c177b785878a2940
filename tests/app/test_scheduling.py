"""Whose turn it is: lanes, large and small requests, and frames that are sent as they are drawn."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from engine_kit import order, run, running
from zoo_factory import make_entry, make_zoo

from app.engine.device import Network, Pixels, Rows
from app.engine.engine import Engine
from app.engine.errors import ExecutionFailedError, OverloadedError
from app.engine.orders import Drawing, InterpolateOrder, Keyframe, its_pixels
from app.engine.queue import LONE_TURN
from app.engine.residents import Resident

N = TypeVar("N", bound=Network)


class Turnstile(Network):
    """A network that lets through as many forwards as it was told to; a picture shows its row's first latent."""

    sizes = (1, 2, 4)

    def __init__(self) -> None:
        self.turns = threading.Semaphore(0)

    def _draw(self, rows: Rows) -> Pixels:
        assert self.turns.acquire(timeout=30)
        return (rows[0][:, 0] * 10 + 128).round().to(torch.uint8).numpy()[:, None, None, None]


@contextlib.asynccontextmanager
async def drawing_with(zoo: Path, network: N, lanes: int = 1) -> AsyncIterator[tuple[Engine, Any, N]]:
    """A running engine that draws `blobs` with the given network, and lets through whatever still waits in it at the end."""
    make_zoo(zoo)
    async with running(zoo, lanes=lanes) as engine:
        model = engine.catalog.find("blobs")
        engine.residents.admit(model.key, Resident(network, 1), make_room=True)
        try:
            yield engine, model, network
        finally:
            if isinstance(network, Turnstile | Counting):
                network.turns.release(10_000)


def test_a_walk_hands_out_frames_while_the_next_are_drawn(tmp_path: Path) -> None:
    async def check() -> None:
        walk_order = InterpolateOrder("blobs", [Keyframe(1, None), Keyframe(2, None)], 20, "slerp", False, 1.0)
        async with drawing_with(tmp_path, Turnstile()) as (engine, _, turnstile):
            turnstile.turns.release()
            walk = await engine.walk(walk_order, 60, its_pixels)  # one forward of six: it would hang if it waited for all
            frames = [await anext(walk.pieces)]
            assert engine.queued_pixels > 0
            turnstile.turns.release(100)
            frames += [piece async for piece in walk.pieces]
            whole = (await engine.interpolate(walk_order, 60)).pieces
            assert [int(f.squeeze()) for f in frames] == [int(f.squeeze()) for f in whole] and len(frames) == 21
            assert engine.queued_pixels == 0

    run(check())


def test_a_walk_that_nobody_follows_to_its_end_is_not_drawn_to_its_end(tmp_path: Path) -> None:
    async def check() -> None:
        walk_order = InterpolateOrder("blobs", [Keyframe(1, None), Keyframe(2, None)], 100, "slerp", False, 1.0)
        async with drawing_with(tmp_path, Turnstile()) as (engine, _, turnstile):
            turnstile.turns.release()
            walk = await engine.walk(walk_order, 60, its_pixels)
            async with contextlib.aclosing(walk.pieces):
                await anext(walk.pieces)
            assert engine.queued_pixels == 0
            turnstile.turns.release()  # for the forward that had begun

    run(check())


class Counting(Network):
    """A network for which four rows are enough; it waits for a turn at every forward, and counts how many wait."""

    sizes = (1, 2, 4, 8)
    enough = 4

    def __init__(self) -> None:
        self.turns = threading.Semaphore(0)
        self.lock = threading.Condition()
        self.inside: list[int] = []  # rows of the forwards under way

    def _draw(self, rows: Rows) -> Pixels:
        with self.lock:
            self.inside.append(len(rows[0]))
            self.lock.notify_all()
        assert self.turns.acquire(timeout=30)
        with self.lock:
            self.inside.remove(len(rows[0]))
            self.lock.notify_all()
        return np.zeros((len(rows[0]), 16, 16, 3), np.uint8)

    def wait_until(self, rows: list[int]) -> bool:
        with self.lock:
            return self.lock.wait_for(lambda: sorted(self.inside) == rows, timeout=30)


def ask(engine: Engine, model: Any, seed: int, n: int) -> asyncio.Task[object]:
    """A request of `n` pictures that is under way."""
    return asyncio.create_task(engine.picture(model, order("blobs", seed, n), 60))


async def full_forward(engine: Engine, model: Any, network: Counting) -> list[asyncio.Task[object]]:
    """Requests of which the last 8 rows are being drawn in one forward, and the other lane has nothing to do."""
    asked = [ask(engine, model, 0, 8)]
    assert await asyncio.to_thread(network.wait_until, [4, 4])  # an idle engine starts at once, with both lanes
    asked.append(ask(engine, model, 100, 8))
    await asyncio.sleep(0)
    network.turns.release()
    assert await asyncio.to_thread(network.wait_until, [4, 8])
    network.turns.release()
    await asked[0]
    assert await asyncio.to_thread(network.wait_until, [8])
    return asked


def test_a_second_lane_joins_in_when_enough_rows_wait(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Counting(), lanes=2) as (engine, model, network):
            asked = await full_forward(engine, model, network)
            asked += [ask(engine, model, i, 1) for i in range(10, 13)]
            await asyncio.sleep(0)
            await asyncio.sleep(0.05)  # nothing is to happen: there is no event to wait for
            assert network.inside == [8]
            asked.append(ask(engine, model, 13, 1))
            assert await asyncio.to_thread(network.wait_until, [4, 8])
            network.turns.release(2)
            await asyncio.gather(*asked)

    run(check())


def test_a_second_lane_joins_in_at_once_when_there_is_little_to_do(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Counting(), lanes=2) as (engine, model, network):
            first = ask(engine, model, 0, 1)
            assert await asyncio.to_thread(network.wait_until, [1])
            second = ask(engine, model, 1, 2)
            assert await asyncio.to_thread(network.wait_until, [1, 2])
            network.turns.release(2)
            await asyncio.gather(first, second)

    run(check())


def test_the_little_that_waited_for_a_lane_is_shared_by_all_that_are_free(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Counting(), lanes=2) as (engine, model, network):
            asked = await full_forward(engine, model, network)
            asked += [ask(engine, model, i, 1) for i in (10, 11)]
            await asyncio.sleep(0)
            network.turns.release()
            assert await asyncio.to_thread(network.wait_until, [1, 1])
            network.turns.release(2)
            await asyncio.gather(*asked)

    run(check())


class Soon(Network):
    """A network whose forwards are soon over; it notes which of them the event loop drew, and can be held up in lanes."""

    sizes = (1, 2)
    soon = True

    def __init__(self) -> None:
        self.on_the_loop: list[bool] = []
        self.loop = threading.get_ident()
        self.go = threading.Event()
        self.go.set()
        self.in_lane = threading.Event()

    def _draw(self, rows: Rows) -> Pixels:
        self.on_the_loop.append(threading.get_ident() == self.loop)
        if not self.on_the_loop[-1]:
            self.in_lane.set()
            assert self.go.wait(timeout=30)
        return np.zeros((len(rows[0]), 16, 16, 3), np.uint8)


def test_somebody_who_is_alone_is_answered_by_the_event_loop_but_for_a_look_now_and_then(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Soon(), lanes=2) as (engine, model, network):
            for i in range(2 * LONE_TURN):
                await ask(engine, model, i, 1)
            assert network.on_the_loop == ([True] * (LONE_TURN - 1) + [False]) * 2
            await ask(engine, model, 99, 2)  # more than the smallest forward
            assert network.on_the_loop[-1] is False

    run(check())


def test_whoever_comes_while_others_are_there_is_left_to_the_lanes(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Soon(), lanes=2) as (engine, model, network):
            network.go.clear()
            two = ask(engine, model, 0, 2)
            assert await asyncio.to_thread(network.in_lane.wait, 30)
            one = ask(engine, model, 20, 1)
            await asyncio.sleep(0)
            network.go.set()
            await asyncio.gather(two, one)
            await ask(engine, model, 21, 1)  # alone again, but others were there a moment ago
            assert not any(network.on_the_loop)

    run(check())


def test_somebody_who_asks_for_one_picture_does_not_wait_for_lanes_that_draw_thousands(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Soon(), lanes=1) as (engine, model, network):
            network.go.clear()
            many = ask(engine, model, 0, 9)
            assert await asyncio.to_thread(network.in_lane.wait, 30)
            for i in range(LONE_TURN + 1):
                await ask(engine, model, 20 + i, 1)
            assert network.on_the_loop == [False] + [True] * (LONE_TURN + 1)
            network.go.set()
            await many

    run(check())


class Quick(Network):
    """A network whose forwards are over at once; it notes their rows, and which thread drew them."""

    sizes = (1, 2, 4)
    quick = True

    def __init__(self) -> None:
        self.drawn: list[tuple[int, bool]] = []  # rows, and whether on the event loop
        self.loop = threading.get_ident()
        self.broken = False

    def _draw(self, rows: Rows) -> Pixels:
        self.drawn.append((len(rows[0]), threading.get_ident() == self.loop))
        if self.broken:
            raise RuntimeError("broken")
        return np.zeros((len(rows[0]), 16, 16, 3), np.uint8)


def test_the_event_loop_draws_small_requests_of_quick_networks_itself(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Quick()) as (engine, model, network):
            await asyncio.gather(*(engine.picture(model, order("blobs", i, 1), 60) for i in range(6)))
            assert network.drawn == [(4, True), (2, True)]  # together, as many as fit
            await engine.picture(model, order("blobs", 0, 5), 60)  # more than a forward: lanes have time for it
            assert network.drawn[2:] == [(4, False), (1, False)]
            network.broken = True
            with pytest.raises(ExecutionFailedError):
                await engine.picture(model, order("blobs", 0, 1), 60)
            network.broken = False
            await engine.picture(model, order("blobs", 0, 1), 60)
            assert engine.queued_pixels == 0

    run(check())


def test_others_have_their_turn_between_two_batches_on_the_event_loop(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Quick()) as (engine, model, network):
            asked = [asyncio.create_task(engine.picture(model, order("blobs", i, 1), 60)) for i in range(12)]
            seen = []
            while not all(task.done() for task in asked):
                await asyncio.sleep(0)
                seen.append(len(network.drawn))
            assert {0, 1, 2, 3} <= set(seen)

    run(check())


def test_a_small_request_passes_large_ones_on_every_lane(tmp_path: Path) -> None:
    """Both lanes busy with large requests of the same model: a single picture is in the very next forward."""

    async def check() -> None:
        async with drawing_with(tmp_path, Counting(), lanes=2) as (engine, model, network):
            large = [asyncio.create_task(engine.picture(model, order("blobs", 0, 200), 60)) for _ in range(4)]
            assert await asyncio.to_thread(network.wait_until, [8, 8])
            small = asyncio.create_task(engine.picture(model, order("blobs", 999, 1), 60))
            await asyncio.sleep(0)
            for _ in range(8):
                network.turns.release()
                done, _ = await asyncio.wait([small], timeout=0.2)
                if done:
                    break
            assert small.done() and not any(task.done() for task in large)
            network.turns.release(10_000)
            await asyncio.gather(*large)

    run(check())


def test_large_requests_are_finished_one_after_the_other(tmp_path: Path) -> None:
    """Ten equal requests: when half of the work is done, about half of them are, and not none."""

    async def check() -> None:
        async with drawing_with(tmp_path, Counting(), lanes=2) as (engine, model, network):
            tasks = [asyncio.create_task(engine.picture(model, order("blobs", 0, 80), 60)) for _ in range(10)]
            assert await asyncio.to_thread(network.wait_until, [8, 8])
            network.turns.release(50)
            while network.turns._value:  # half of the hundred forwards
                await asyncio.sleep(0.001)
            assert await asyncio.to_thread(network.wait_until, [8, 8])
            await asyncio.sleep(0.01)
            assert 3 <= sum(task.done() for task in tasks) <= 5

    run(check())


def test_a_large_request_that_would_come_too_late_is_refused_at_once(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Counting(), lanes=2) as (engine, model, network):
            engine._queue._rate = 16 * 16 * 100  # a hundred pictures a second
            ahead = asyncio.create_task(engine.picture(model, order("blobs", 0, 200), 60))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError) as refusal:
                await engine.picture(model, order("blobs", 0, 200), 3.5)
            assert refusal.value.retry_after_s == 2
            patient = asyncio.create_task(engine.picture(model, order("blobs", 0, 200), 60))
            network.turns.release(10_000)
            await asyncio.gather(ahead, patient)

    run(check())


def test_bulk_work_takes_all_lanes_and_leaves_one_when_requests_come(tmp_path: Path) -> None:
    async def check() -> None:
        make_zoo(tmp_path)
        make_entry(tmp_path, "stripes", "dcgan")
        async with running(tmp_path, lanes=2) as engine:
            asked, background = Counting(), Counting()
            for name, network in (("blobs", asked), ("stripes", background)):
                engine.residents.admit(engine.catalog.find(name).key, Resident(network, 1), make_room=True)
            bulk = asyncio.create_task(engine.in_bulk(order("stripes", 0, 64), 60))
            assert await asyncio.to_thread(background.wait_until, [8, 8])  # nobody else is there
            for i in range(3):
                request = asyncio.create_task(engine.picture(engine.catalog.find("blobs"), order("blobs", i, 1), 60))
                await asyncio.sleep(0)
                if i == 0:
                    background.turns.release()  # a lane becomes free, and takes the request; later one is kept free
                assert await asyncio.to_thread(asked.wait_until, [1])
                assert background.inside == [8]
                asked.turns.release()
                await request
            background.turns.release(10_000)
            assert len((await bulk).pieces) == 64

    run(check())


def test_bulk_work_gets_its_turn_among_many_requests(tmp_path: Path) -> None:
    async def check() -> None:
        async with drawing_with(tmp_path, Counting()) as (engine, model, network):
            first = asyncio.create_task(engine.picture(model, order("blobs", 0, 8), 60))
            assert await asyncio.to_thread(network.wait_until, [8])
            bulk = asyncio.create_task(engine.in_bulk(order("blobs", 0, 8), 60))
            requests = [asyncio.create_task(engine.picture(model, order("blobs", i, 8), 60)) for i in range(40)]
            await asyncio.sleep(0)
            finished: list[asyncio.Task[Drawing]] = []
            for task in (bulk, *requests):
                task.add_done_callback(finished.append)
            network.turns.release(10_000)
            await asyncio.gather(first, bulk, *requests)
            assert finished.index(bulk) < len(requests) - 10

    run(check())
