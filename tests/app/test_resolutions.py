"""Models that draw several sizes: each has a network of its own, made when it is asked for, exact like any other."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_kit import order, run, running
from zoo_factory import make_entry

from app.engine.errors import InvalidRequestError
from models.checkpoint import load_checkpoint
from models.families.progressive import Stage
from models.latents import latents
from models.pixels import to_uint8

HPARAMS = {"resolution": 32, "widths": (48, 24, 8)}
RESOLUTIONS = (8, 16, 32)


def test_each_size_is_the_same_in_any_company(tmp_path: Path) -> None:
    """Alone, in requests of several, and all sizes at once."""
    make_entry(tmp_path, "faces", "progressive", **HPARAMS)
    counts = (1, 2, 3, 5, 8, 9, 17)

    async def check() -> None:
        async with running(tmp_path) as engine:
            served = engine.catalog.find("faces")

            async def draw(side: int, seed: int, n: int) -> Any:
                return np.stack((await engine.picture(served, replace(order("faces", seed, n), resolution=side), 60)).pieces)

            alone = {side: np.concatenate([await draw(side, seed, 1) for seed in range(24)]) for side in RESOLUTIONS}
            asked = [(side, n % 7, n) for side in RESOLUTIONS for n in counts]
            together = await asyncio.gather(*(draw(*one) for one in asked))
            for (side, seed, n), pictures in zip(asked, together, strict=True):
                assert pictures.shape == (n, side, side, 3)
                assert (pictures == alone[side][seed : seed + n]).all()
            largest = np.stack((await engine.picture(served, order("faces", 0, 24), 60)).pieces)
            assert (largest == alone[32]).all()

    run(check())


def test_a_small_picture_is_the_lower_level_of_the_same_seed(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(make_entry(tmp_path, "faces", "progressive", **HPARAMS))

    async def draw(side: int) -> Any:
        async with running(tmp_path) as engine:
            return np.stack((await engine.sample(replace(order("faces", 0, 6), resolution=side), 60)).pieces)

    for side in RESOLUTIONS:
        with torch.inference_mode():
            expected = to_uint8(checkpoint.generator(latents(range(6), 8), Stage(side))).numpy()
        difference = np.abs(run(draw(side)).astype(int) - expected.astype(int))
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_networks_of_smaller_sizes_are_made_once_and_counted(tmp_path: Path) -> None:
    make_entry(tmp_path, "faces", "progressive", **HPARAMS)

    async def check() -> None:
        async with running(tmp_path) as engine:
            key = engine.catalog.find("faces").key

            def resident() -> Any:
                return engine.residents.get(key)

            before = resident()
            assert not before.parts
            small = replace(order("faces", 0, 1), resolution=8)
            await asyncio.gather(*(engine.sample(small, 60) for _ in range(4)))
            assert list(resident().parts) == ["8 px"]
            assert before.size < resident().size < 2 * before.size
            first = resident().parts["8 px"]
            await engine.sample(small, 60)
            assert resident().parts["8 px"] is first

    run(check())


def test_what_a_request_may_ask_for_is_counted_in_its_own_pixels(tmp_path: Path) -> None:
    make_entry(tmp_path, "faces", "progressive", **HPARAMS)

    async def check() -> None:
        async with running(tmp_path, max_queue_pixels=40 * 8 * 8) as engine:
            drawing = await engine.sample(replace(order("faces", 0, 40), resolution=8), 60)
            assert len(drawing.pieces) == 40
            with pytest.raises(InvalidRequestError, match="8, 16, 32 px, and none of 12"):
                await engine.sample(replace(order("faces", 0, 1), resolution=12), 60)

    run(check())
