"""The models that come with the repository are served as they are."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from app.engine.device import CpuDevice
from app.engine.engine import Engine, EngineConfig
from app.engine.orders import DrawOrder
from app.telemetry import Metrics

ZOO = Path(__file__).resolve().parents[2] / "models" / "zoo"


@pytest.mark.parametrize("name", ["fashion", "digits-mlp"])
def test_a_shipped_model_draws(name: str) -> None:
    if not (ZOO / name).is_dir():
        pytest.skip(f"models/zoo/{name} has not been published yet")

    async def check() -> None:
        engine = Engine(EngineConfig(ZOO, name, 2**24, 2**15, 2**25, None, 60.0), CpuDevice("float32", 1), Metrics())
        async with engine.running():
            while not engine.catalog.scanned:
                await asyncio.sleep(0.01)
            assert engine.why_not_ready() is None
            served = engine.catalog.find(name)
            images = np.stack((await engine.picture(served, DrawOrder(name, 20, 7), 60)).pieces)
            assert len(np.unique(images.reshape(20, -1), axis=0)) == 20  # no two alike
            assert images.std() > 20  # and not all grey
            assert served.samples.is_file()

    asyncio.run(check())
