"""The threads that touch the device: one a lane, and nothing else ever runs a network."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from app.engine.device import Device


class Worker:
    """Runs micro-batches off the event loop, `lanes` at a time."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pool = ThreadPoolExecutor(device.lanes, thread_name_prefix="lane", initializer=device.start_thread)

    @property
    def lanes(self) -> int:
        """How many micro-batches run side by side."""
        return self._device.lanes

    @property
    def micro_batch(self) -> int:
        """How many pictures a micro-batch holds at most."""
        return self._device.micro_batch

    async def run(self, generator: nn.Module, rows: tuple[Tensor, ...]) -> NDArray[np.uint8]:
        """As `Device.run`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._device.run, generator, rows)

    def run_blocking(self, generator: nn.Module, rows: tuple[Tensor, ...]) -> NDArray[np.uint8]:
        """As `run`, for callers that are in a thread of their own already."""
        return self._pool.submit(self._device.run, generator, rows).result()

    def close(self) -> None:
        """Waits for the forwards that are running, and lets the threads go."""
        self._pool.shutdown(wait=True, cancel_futures=True)
