"""The models that come with the repository are served as they are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.engine.device import CpuDevice
from app.engine.engine import Engine, EngineConfig
from app.engine.orders import DrawOrder, TranslateOrder
from app.telemetry import Metrics

ROOT = Path(__file__).resolve().parents[2]
ZOO, EXAMPLES = ROOT / "models" / "zoo", ROOT / "examples"


@contextlib.asynccontextmanager
async def shipped(name: str) -> AsyncIterator[Engine]:
    """An engine that serves the models of the repository, of which this one is loaded."""
    engine = Engine(EngineConfig(ZOO, name, 2**24, 2**15, 2**25, None, 60.0), CpuDevice("float32", 1), Metrics())
    async with engine.running():
        while not engine.catalog.scanned:
            await asyncio.sleep(0.01)
        assert engine.why_not_ready() is None
        assert engine.catalog.find(name).samples.is_file()
        yield engine


def needs(name: str) -> None:
    if not (ZOO / name).is_dir():
        pytest.skip(f"models/zoo/{name} has not been published yet")


@pytest.mark.parametrize("name", ["fashion", "digits", "digits-mlp", "digits-codes", "faces"])
def test_a_shipped_model_draws(name: str) -> None:
    needs(name)

    async def check() -> None:
        async with shipped(name) as engine:
            images = np.stack((await engine.picture(engine.catalog.find(name), DrawOrder(name, 20, 7), 60)).pieces)
            assert len(np.unique(images.reshape(20, -1), axis=0)) == 20  # no two alike
            assert images.std() > 20  # and not all grey

    asyncio.run(check())


def test_outlines_get_colours() -> None:
    """A round face is yellow, as emoji are, and what lies around it stays white."""
    needs("outlines")
    y, x = np.mgrid[:64, :64] - 31.5
    drawing = np.full((64, 64, 3), 255, np.uint8)
    drawing[abs(np.hypot(x, y) - 22) < 1] = 0
    drawing[(abs(abs(x) - 7) < 2) & (abs(y + 6) < 2.5)] = 0
    drawing[(abs(np.hypot(x, y) - 11) < 1) & (y > 3)] = 0

    async def check() -> None:
        async with shipped("outlines") as engine:
            answer = (await engine.pictures.translate(TranslateOrder("outlines", drawing), 60)).pixels
            inside = answer[np.hypot(x, y) < 18].reshape(-1, 3).mean(axis=0)
            assert min(inside[:2]) > inside[2] + 60
            assert answer[:4].mean() > 245

    asyncio.run(check())


def test_a_house_is_drawn_from_a_plan() -> None:
    """Panes are darker than the wall around them, and doors and the sky are where they were drawn."""
    needs("facades")
    plan = np.asarray(Image.open(EXAMPLES / "facade.png").convert("RGB"))
    blue_wall, pane = (0, 48, 255), (0, 128, 255)

    async def check() -> None:
        async with shipped("facades") as engine:
            answer = (await engine.pictures.translate(TranslateOrder("facades", plan), 60)).pixels.astype(float)
            assert answer.shape == plan.shape
            of_wall, of_panes = (answer[(plan == colour).all(axis=2)].mean() for colour in (blue_wall, pane))
            assert of_panes < of_wall - 10
            assert answer[:8].mean() > of_wall + 10

    asyncio.run(check())


def test_a_translation_comes_back_as_what_it_was() -> None:
    """A brown body before grass and sky: it changes one way, and is itself again after both."""
    needs("horse2zebra")
    y, x = np.mgrid[:64, :64] - 31.5
    picture = np.where((y < 4)[..., None], [150, 180, 220], [90, 140, 60]).astype(np.uint8)
    picture[(x / 20) ** 2 + (y / 10) ** 2 < 1] = (120, 70, 35)

    async def check() -> None:
        async with shipped("horse2zebra") as engine:
            there = (await engine.pictures.translate(TranslateOrder("horse2zebra", picture), 60)).pixels
            back = (await engine.pictures.translate(TranslateOrder("horse2zebra", there, direction="BtoA"), 60)).pixels
            body = (x / 20) ** 2 + (y / 10) ** 2 < 0.8
            assert abs(there.astype(int) - picture)[body].mean() > 10
            assert abs(back.astype(int) - picture).mean() < 4

    asyncio.run(check())


def test_photographs_are_enlarged_sharper_than_by_a_filter() -> None:
    """An edge between two colours: nearer to the true one than bicubic enlargement is, and made small again what it was."""
    needs("photo-x4")
    y, x = np.mgrid[:128, :128]
    share = np.clip(80.5 - x - 0.4 * y, 0, 1)[..., None]  # of one colour; in a photograph an edge falls within pixels
    true = np.rint(share * [40, 90, 160] + (1 - share) * [220, 190, 120]).astype(np.uint8)
    image = Image.fromarray(true)
    given = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))
    bicubic = np.asarray(Image.fromarray(given).resize((128, 128), Image.Resampling.BICUBIC))

    async def check() -> None:
        async with shipped("photo-x4") as engine:
            errors = {}
            for fidelity in (0.0, 0.5, 1.0):
                order = TranslateOrder("photo-x4", given, fidelity=fidelity)
                answer = (await engine.pictures.upscale(order, 60)).pixels
                assert answer.shape == true.shape
                again = np.asarray(Image.fromarray(answer).resize((32, 32), Image.Resampling.BICUBIC)).astype(int)
                assert abs(again - given).mean() < 1
                errors[fidelity] = float(np.square(answer.astype(float) - true).mean())
            assert errors[1.0] < 0.5 * np.square(bicubic.astype(float) - true).mean()

    asyncio.run(check())
