"""More models than memory: they make room for each other, and nobody who asks notices but by waiting."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoo_factory import make_entry

from app.engine.device import CpuDevice
from app.engine.engine import Engine, EngineConfig
from app.engine.errors import DeadlineExceededError, ModelUnavailableError
from app.engine.orders import DrawOrder
from app.telemetry import Metrics
from models.checkpoint import load_checkpoint

NAMES = ("a", "b", "c")


def engine_for(zoo: Path, models: float) -> Engine:
    """An engine with room for so many of the models in `zoo`, which are equally large."""
    weights = load_checkpoint(zoo / "a" / "1").generator.state_dict().values()
    size = sum(t.numel() * t.element_size() for t in weights)
    return Engine(EngineConfig(zoo, "a", 2**24, 2**15, 2**25, int(size * models), 60.0), CpuDevice("float32", 2), Metrics())


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        make_entry(tmp_path, name, "mlp", weights_seed=seed)
    return tmp_path


async def draw(engine: Engine, name: str, timeout_s: float = 60) -> Any:
    return (await engine.sample(DrawOrder(name, 1, 7), timeout_s)).pieces[0]


async def scanned(engine: Engine) -> None:
    while not engine.catalog.scanned:
        await asyncio.sleep(0.005)


def value(engine: Engine, name: str, **labels: str) -> float:
    return engine._metrics.registry.get_sample_value(name, labels) or 0.0


def test_models_beyond_the_budget_are_read_when_asked_for_and_draw_the_same(zoo: Path) -> None:
    async def pictures(models: float) -> tuple[list[Any], float, float]:
        engine = engine_for(zoo, models)
        async with engine.running():
            await scanned(engine)
            drawn = [await draw(engine, name) for name in NAMES * 3]
            return (
                drawn,
                value(engine, "ganymede_model_evictions_total"),
                value(engine, "ganymede_model_loads_total", outcome="ready"),
            )

    roomy, no_evictions, loads = asyncio.run(pictures(3))
    assert (no_evictions, loads) == (0, 3)
    tight, evictions, loads = asyncio.run(pictures(1.5))
    assert evictions == 8 and loads == 3 + 8  # `a` was in memory when it was first asked for; then each pushes another out
    assert all(np.array_equal(x, y) for x, y in zip(roomy, tight, strict=True))


def test_the_least_recently_used_makes_room(zoo: Path) -> None:
    async def check() -> None:
        engine = engine_for(zoo, 2)
        async with engine.running():
            await scanned(engine)
            for name in ("a", "b", "a", "c"):
                await draw(engine, name)
            assert [engine.residents.get((name, 1)) is not None for name in NAMES] == [True, False, True]
            memory = [value(engine, "ganymede_model_memory_bytes", model=name, version="1") > 0 for name in NAMES]
            assert memory == [True, False, True]

    asyncio.run(check())


def test_many_who_wait_for_a_model_load_it_once(zoo: Path) -> None:
    async def check() -> None:
        engine = engine_for(zoo, 1)
        async with engine.running():
            await scanned(engine)
            before = value(engine, "ganymede_model_loads_total", outcome="ready")
            drawn = await asyncio.gather(*(draw(engine, "b") for _ in range(16)))
            assert value(engine, "ganymede_model_loads_total", outcome="ready") == before + 1
            assert all(np.array_equal(drawn[0], d) for d in drawn)

    asyncio.run(check())


def test_a_model_spoilt_since_it_was_verified_says_so_and_leaves_the_rest_alone(zoo: Path) -> None:
    async def check() -> None:
        engine = engine_for(zoo, 1)
        async with engine.running():
            await scanned(engine)
            weights = zoo / "b" / "1" / "weights.safetensors"
            weights.write_bytes(weights.read_bytes()[:-1])
            with pytest.raises(ModelUnavailableError, match="cut off"):
                await draw(engine, "b")
            await draw(engine, "a")
            with pytest.raises(DeadlineExceededError):
                await draw(engine, "c", timeout_s=0)
            await draw(engine, "c")

    asyncio.run(check())
