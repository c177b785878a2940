"""Engines for tests: real ones, on zoos of tiny networks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from app.engine.device import CpuDevice
from app.engine.engine import Engine, EngineConfig
from app.engine.orders import DrawOrder
from app.telemetry import Metrics

T = TypeVar("T")


@contextlib.asynccontextmanager
async def running(zoo: Path, *, lanes: int = 2, max_queue_pixels: int = 2**25) -> AsyncIterator[Engine]:
    config = EngineConfig(zoo, "fashion", 2**24, 2**15, max_queue_pixels, None, 60.0)
    engine = Engine(config, CpuDevice("float32", lanes), Metrics())
    async with engine.running():
        while not engine.catalog.scanned:
            await asyncio.sleep(0.005)
        yield engine


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def order(model: str, seed: int, n: int) -> DrawOrder:
    return DrawOrder(model, n, seed)
