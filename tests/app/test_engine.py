"""The engine without HTTP: same pictures in any company, fair and bounded queues, failures that stay where they are."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_kit import order, run, running
from torch import Tensor, nn
from zoo_factory import REAL_SIZE, make_entry, make_zoo

from app.engine.device import CpuDevice, CpuNetwork, DeviceError, Network, Pixels, Rows, open_device
from app.engine.engine import Engine
from app.engine.errors import DeadlineExceededError, EngineStoppedError, ExecutionFailedError, OverloadedError
from app.engine.lanes import draw
from app.engine.loading import example_rows
from app.engine.orders import Drawn
from app.engine.residents import Resident
from models.checkpoint import load_checkpoint
from models.hardware import has_bfloat16
from models.latents import latents, one_hot
from models.pixels import to_uint8

SIZES = {"tiny": {"conditional": {}, "mlp": {}, "dcgan": {}}, "real": REAL_SIZE}


@pytest.mark.parametrize("size", ["tiny", "real"])
@pytest.mark.parametrize("family", ["conditional", "mlp", "dcgan"])
def test_pixels_are_the_same_in_any_company(tmp_path: Path, family: str, size: str) -> None:
    """Requests of every size from 1 to 64, alone and all at once, over the same seeds."""
    make_entry(tmp_path, "m", family, **SIZES[size][family])
    sizes = range(1, 65) if size == "tiny" else (1, 2, 3, 4, 5, 7, 16, 31, 64)

    async def check() -> None:
        async with running(tmp_path) as engine:
            served = engine.catalog.find("m")
            labels = [0] * 128 if served.manifest.labels else None

            async def draw(seed: int, n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
                one = replace(order("m", seed, n), labels=labels and labels[:n])
                return np.stack((await engine.picture(served, one, 60)).pieces)

            alone = np.concatenate([await draw(seed, 1) for seed in range(128)])
            assert len(np.unique(alone.reshape(128, -1), axis=0)) == 128
            for n in sizes:
                assert (await draw(n % 7, n) == alone[n % 7 : n % 7 + n]).all()
            mixed = await asyncio.gather(*(draw(n % 7, n) for n in sizes))
            for n, images in zip(sizes, mixed, strict=True):
                assert (images == alone[n % 7 : n % 7 + n]).all()

    run(check())


@pytest.mark.parametrize("family", ["conditional", "mlp", "dcgan"])
def test_pictures_are_what_the_network_draws(tmp_path: Path, family: str) -> None:
    """Against the plain network, in its plain memory layout: batching and layout change rounding at most."""
    checkpoint = load_checkpoint(make_entry(tmp_path, "m", family))
    rows: tuple[Tensor, ...] = (latents(range(10), 8),)
    if checkpoint.manifest.labels:
        rows += (one_hot([i % 3 for i in range(10)], 3),)
    with torch.inference_mode():
        expected = to_uint8(checkpoint.generator(*rows)).numpy()

    async def draw() -> Any:
        async with running(tmp_path) as engine:
            return np.stack((await engine.picture(engine.catalog.find("m"), order("m", 0, 10), 60)).pieces)

    difference = np.abs(run(draw()).astype(int) - expected.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


class Gate(Network):
    """A network that waits until it is let through, or fails."""

    sizes = (1, 2, 4)

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.error: BaseException | None = None
        self.calls = 0
        self.rows: list[Rows] = []

    def _draw(self, rows: Rows) -> Pixels:
        self.calls += 1
        self.rows.append(rows)
        self.entered.set()
        assert self.open.wait(30)
        if self.error:
            raise self.error
        return np.zeros((len(rows[0]), 16, 16, 3), np.uint8)


@contextlib.asynccontextmanager
async def gated(zoo: Path, **options: Any) -> AsyncIterator[tuple[Engine, Any, Gate]]:
    """An engine with one lane, and a model behind a gate."""
    make_zoo(zoo)
    async with running(zoo, lanes=1, **options) as engine:
        gate = Gate()
        model = engine.catalog.find("blobs")
        engine.residents.admit(model.key, Resident(gate, 1), make_room=True)
        try:
            yield engine, model, gate
        finally:
            gate.open.set()


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.wait, 30)


def test_a_failing_batch_fails_its_own_jobs_only(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path) as (engine, model, gate):
            gate.error = RuntimeError("the network broke")
            gate.open.set()
            broken = engine.picture(model, order("x", 1, 9), 60)
            healthy = engine.sample(order("digits-mlp", 1, 9), 60)
            failure, drawing = await asyncio.gather(broken, healthy, return_exceptions=True)
            assert isinstance(failure, ExecutionFailedError) and "broke" not in str(failure)
            assert len(drawing.pieces) == 9  # type: ignore[union-attr]
            gate.error = None
            assert len((await engine.picture(model, order("x", 1, 3), 60)).pieces) == 3

    run(check())


def test_a_full_queue_refuses_at_once_and_has_room_again_later(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path, max_queue_pixels=10 * 256) as (engine, model, gate):
            first = asyncio.create_task(engine.picture(model, order("x", 1, 8), 60))
            await entered(gate)
            with pytest.raises(OverloadedError) as refused:
                await engine.picture(model, order("x", 1, 3), 60)
            assert 1 <= refused.value.retry_after_s <= 60
            second = asyncio.create_task(engine.picture(model, order("x", 1, 2), 60))
            gate.open.set()
            assert [len(d.pieces) for d in await asyncio.gather(first, second)] == [8, 2]
            assert len((await engine.picture(model, order("x", 1, 10), 60)).pieces) == 10

    run(check())


def test_a_cancelled_request_frees_its_place_and_is_not_drawn(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path, max_queue_pixels=20 * 256) as (engine, model, gate):
            first = asyncio.create_task(engine.picture(model, order("x", 1, 4), 60))
            await entered(gate)
            second = asyncio.create_task(engine.picture(model, order("x", 1, 16), 60))
            while engine.queued_pixels < 20 * 256:
                await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            assert engine.queued_pixels == 4 * 256
            gate.open.set()
            await first
            assert gate.calls == 1

    run(check())


def test_a_deadline_that_passes_in_the_queue_is_never_drawn(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path) as (engine, model, gate):
            first = asyncio.create_task(engine.picture(model, order("x", 1, 4), 60))
            await entered(gate)
            with pytest.raises(DeadlineExceededError):
                await engine.picture(model, order("x", 1, 4), 0.01)
            gate.open.set()
            await first
            assert gate.calls == 1

    run(check())


def test_a_small_request_passes_a_large_one(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path) as (engine, model, gate):
            large = asyncio.create_task(engine.picture(model, order("x", 1, 256), 60))
            await entered(gate)
            small = [asyncio.create_task(engine.picture(model, order("x", s, 1), 60)) for s in range(3)]
            while engine.queued_pixels < 259 * 256:
                await asyncio.sleep(0)
            gate.open.set()
            await asyncio.gather(*small)
            assert len((await large).pieces) == 256
            wanted = latents(range(3), 8)[:, 0]
            second_call = gate.rows[1][0][:, 0]  # the first one was under way when the small requests came
            assert torch.isin(wanted, second_call).all()

    run(check())


def test_requests_that_wait_share_a_batch(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path) as (engine, model, gate):
            first = asyncio.create_task(engine.picture(model, order("x", 1, 1), 60))
            await entered(gate)
            others = [asyncio.create_task(engine.picture(model, order("x", s, 1), 60)) for s in range(8)]
            while engine.queued_pixels < 9 * 256:
                await asyncio.sleep(0)
            gate.open.set()
            await asyncio.gather(first, *others)
            assert gate.calls == 1 + 8 // gate.sizes[-1]

    run(check())


def test_leaving_finishes_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path) as (engine, model, gate):
            accepted = asyncio.create_task(engine.picture(model, order("x", 1, 9), 60))
            await entered(gate)
            engine.stop_accepting()
            assert "shutting down" in (engine.why_not_ready() or "")
            gate.open.set()
        assert len((await accepted).pieces) == 9
        with pytest.raises((EngineStoppedError, RuntimeError)):
            await engine.picture(model, order("x", 1, 1), 60)

    run(check())


def test_the_cpu_is_not_asked_for_what_it_does_not_have() -> None:
    assert open_device("cpu", "float32", 3).lanes == 3
    if has_bfloat16(torch.device("cpu")):
        assert open_device("cpu", "auto").precision == "bfloat16"
    else:
        assert open_device("cpu", "auto").precision == "float32"
        with pytest.raises(DeviceError, match="GANYMEDE_PRECISION"):
            open_device("cpu", "bfloat16")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="GANYMEDE_DEVICE"):
            open_device("cuda", "auto")


@pytest.mark.parametrize("family", ["conditional", "mlp", "dcgan"])
def test_every_size_of_a_batch_gives_the_same_bits(tmp_path: Path, family: str) -> None:
    """Before they are rounded to 8 bits, which would hide most differences; on pictures that the sizes were not chosen with."""
    make_entry(tmp_path, "m", family, **REAL_SIZE[family])
    checkpoint = load_checkpoint(tmp_path / "m" / "1")
    network = CpuDevice("float32", 1).prepare(checkpoint.generator, example_rows(checkpoint))
    assert isinstance(network, CpuNetwork) and len(network.sizes) >= 2
    rows: Rows = (latents(range(1000, 1064), checkpoint.hparams.z_dim),)
    if checkpoint.hparams.classes:
        rows += (one_hot([3 * i % checkpoint.hparams.classes for i in range(64)], checkpoint.hparams.classes),)

    def drawn(size: int) -> Tensor:
        return torch.cat([network.images(tuple(r[i : i + size] for r in rows)) for i in range(0, 64, size)])

    for size in network.sizes:
        assert torch.equal(drawn(size), drawn(network.sizes[-1])), size


class Moody(nn.Module):
    """A generator whose pictures depend on how many are drawn at once, in all sizes but 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, kernel_size=1)

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :1, None, None] + (0 if len(z) in {4, 8} else 1e-7 * len(z))


def test_sizes_that_disagree_are_not_used() -> None:
    network = CpuDevice("float32", 1).prepare(Moody(), (latents(range(64), 4),))
    assert network.sizes == (4, 8)
    assert len(network.draw((latents([1], 4),))) == 1  # padded to four


class Cramped(Network):
    """A network on a device with room for two pictures."""

    sizes = (1, 2, 4)

    def _draw(self, rows: Rows) -> Pixels:
        if len(rows[0]) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried to …")
        return np.full((len(rows[0]), 16, 16, 3), 7, np.uint8) + rows[0][:, :1, None, None].numpy().astype(np.uint8)


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    rows = (torch.arange(4.0)[:, None],)
    assert draw(Cramped(), rows)[:, 0, 0, 0].tolist() == [7, 8, 9, 10]


def test_a_lane_outlives_whatever_a_network_throws(tmp_path: Path) -> None:
    async def check() -> None:
        async with gated(tmp_path) as (engine, model, gate):
            gate.open.set()
            for error in (SystemExit(1), KeyboardInterrupt(), MemoryError()):
                gate.error = error
                with pytest.raises(ExecutionFailedError):
                    await engine.picture(model, order("x", 1, 1), 60)
            gate.error = None
            assert len((await engine.picture(model, order("x", 1, 3), 60)).pieces) == 3

    run(check())


def test_a_picture_that_can_not_be_encoded_fails_its_own_request_only(tmp_path: Path) -> None:
    def refuse(_: Drawn) -> None:
        raise ValueError("no such codec")

    async def check() -> None:
        async with gated(tmp_path) as (engine, model, gate):
            first = asyncio.create_task(engine.picture(model, order("x", 1, 1), 60))
            await entered(gate)
            broken = asyncio.create_task(engine.picture(model, order("x", 1, 1), 60, refuse))
            healthy = asyncio.create_task(engine.picture(model, order("x", 1, 2), 60))
            while engine.queued_pixels < 4 * 256:
                await asyncio.sleep(0)
            gate.open.set()
            results = await asyncio.gather(first, broken, healthy, return_exceptions=True)
            assert gate.calls == 2  # both shared a batch
            assert isinstance(results[1], ExecutionFailedError)
            assert [len(r.pieces) for r in (results[0], results[2])] == [1, 2]  # type: ignore[union-attr]

    run(check())


def test_small_requests_do_not_starve_large_ones(tmp_path: Path) -> None:
    """A hundred single pictures are waiting: one for eight still gets every fourth turn."""

    async def check() -> None:
        async with gated(tmp_path, max_queue_pixels=2**25) as (engine, model, gate):
            first = asyncio.create_task(engine.picture(model, order("x", 1, 4), 60))
            await entered(gate)
            small = [asyncio.create_task(engine.picture(model, order("x", 100 + s, 1), 60)) for s in range(100)]
            large = asyncio.create_task(engine.picture(model, order("x", 7, 8), 60))
            while engine.queued_pixels < 112 * 256:
                await asyncio.sleep(0)
            gate.open.set()
            await asyncio.gather(first, large, *small)
            wanted = latents(range(7, 15), 8)[:, 0]
            calls = [i for i, rows in enumerate(gate.rows) if torch.isin(rows[0][:, 0], wanted).any()]
            assert calls[-1] <= 8  # of 28

    run(check())
