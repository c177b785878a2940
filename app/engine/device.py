"""All code that knows about a particular device. The rest of the service sees `Device`.

A picture must not depend on what else is in its batch, and kernels may round differently for different batch sizes. So each
device runs one fixed batch shape: every forward is padded to `micro_batch` rows, whatever was asked for. Padding costs
a lone request a little; it buys pictures that are bit for bit the same alone and in company, under any load.
"""

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.engine.options import DeviceName, Precision
from models.hardware import has_bfloat16
from models.pixels import to_uint8

# Measured on one core, 28-px conditional and 64-px DCGAN: 1 row 2.5 and 3.4 ms, 2 rows 3.5 and 4.8 ms, 4 rows 5.5 and 7 ms,
# 8 rows 11.5 and 13.5 ms. Four rows have (nearly) the throughput of eight and half the wait of a lone request.
CPU_MICRO_BATCH = 4
CUDA_MICRO_BATCH = 16  # a guess that awaits a measurement: small generators are bound by kernel launches there
MAX_AUTO_LANES = 8


class DeviceError(Exception):
    """The device or precision asked for is not to be had here. The message says what is."""


class Device(ABC):
    """Where networks run. `run` may be called from `lanes` threads at a time."""

    name: str
    precision: str
    micro_batch: int  # rows of every forward
    lanes: int  # how many micro-batches run side by side

    @abstractmethod
    def start_thread(self) -> None:
        """Called once in each thread that will call `run`."""

    @abstractmethod
    def prepare(self, generator: nn.Module) -> nn.Module:
        """Moves a generator in eval mode here, in the layout that is fastest here."""

    @abstractmethod
    def run(self, generator: nn.Module, rows: tuple[Tensor, ...]) -> NDArray[np.uint8]:
        """Draws up to `micro_batch` pictures: rows of z (n, z_dim) and maybe y (n, classes) → uint8 (n, H, W, C)."""

    def _padded(self, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The rows, the first repeated up to the fixed batch: any finite row would do, as rows don't see each other."""
        missing = self.micro_batch - len(rows[0])
        if missing < 0:
            raise ValueError(f"{len(rows[0])} rows do not fit in a micro-batch of {self.micro_batch}")
        return tuple(torch.cat([r, r[:1].expand(missing, -1)]) if missing else r.contiguous() for r in rows)


class CpuDevice(Device):
    """The CPU: one intra-op thread a lane, and as many lanes as there are cores to use.

    Lanes of one thread each, rather than one lane of many threads: networks this small gain little from being split up, the
    threads of one forward wait for its slowest on a busy machine (measured: 40 times slower beside one other process), and
    pictures do not depend on the number of cores.
    """

    name = "cpu"
    micro_batch = CPU_MICRO_BATCH

    def __init__(self, precision: Precision, lanes: int | None) -> None:
        has_bf16 = has_bfloat16(torch.device("cpu"))
        if precision == "bfloat16" and not has_bf16:
            raise DeviceError("this CPU has no bfloat16 arithmetic (AVX512-BF16); set GANYMEDE_PRECISION to float32 or auto")
        self.precision = "bfloat16" if precision == "bfloat16" or (precision == "auto" and has_bf16) else "float32"
        self.lanes = lanes or min(len(os.sched_getaffinity(0)), MAX_AUTO_LANES)
        torch.set_num_threads(1)

    def start_thread(self) -> None:
        torch.set_num_threads(1)  # OpenMP keeps its own count for each thread

    def prepare(self, generator: nn.Module) -> nn.Module:
        prepared: nn.Module = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return prepared

    def run(self, generator: nn.Module, rows: tuple[Tensor, ...]) -> NDArray[np.uint8]:
        with torch.inference_mode(), autocast("cpu", self.precision):
            images = to_uint8(generator(*self._padded(rows)))
        drawn: NDArray[np.uint8] = images[: len(rows[0])].numpy()
        return drawn


class CudaDevice(Device):
    """One NVIDIA GPU: its own stream, page-locked copies, bfloat16 where the GPU has it.

    Written for hardware that the project's own machines lack: it has been read with care and has not been run there. Any
    change here should be tried on a GPU first.
    """

    name = "cuda"
    micro_batch = CUDA_MICRO_BATCH
    lanes = 1  # one thread feeds the GPU; kernels of two threads would queue on it just the same

    def __init__(self, precision: Precision) -> None:
        if not torch.cuda.is_available():
            raise DeviceError("no CUDA device is to be had here; set GANYMEDE_DEVICE to cpu or auto")
        has_bf16 = has_bfloat16(torch.device("cuda"))
        if precision == "bfloat16" and not has_bf16:
            raise DeviceError("this GPU has no bfloat16 arithmetic; set GANYMEDE_PRECISION to float32 or auto")
        self.precision = "bfloat16" if has_bf16 and precision != "float32" else "float32"
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        # the fastest kernel is chosen anew in each process, and may round differently: the same picture for ever comes first
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True

    def start_thread(self) -> None:
        torch.cuda.set_device(self._stream.device)

    def prepare(self, generator: nn.Module) -> nn.Module:
        prepared: nn.Module = generator.to("cuda").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.cuda.synchronize()  # the copies ran on the default stream, and `run` uses another
        return prepared

    def run(self, generator: nn.Module, rows: tuple[Tensor, ...]) -> NDArray[np.uint8]:
        with torch.inference_mode(), torch.cuda.stream(self._stream), autocast("cuda", self.precision):
            # pinned memory stays referenced until the synchronize below, so the copies can't read freed pages
            pinned = tuple(r.pin_memory() for r in self._padded(rows))
            images = to_uint8(generator(*(r.to("cuda", non_blocking=True) for r in pinned)))
            host = torch.empty(images.shape, dtype=torch.uint8, pin_memory=True)
            host.copy_(images, non_blocking=True)
            self._stream.synchronize()
        drawn: NDArray[np.uint8] = host[: len(rows[0])].numpy().copy()
        return drawn


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Convolutions and matrix products in bfloat16, norms in float32; nothing at all for float32."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def open_device(name: DeviceName, precision: Precision, lanes: int | None = None) -> Device:
    """The device of that name; `auto` takes a GPU where there is one. Raises `DeviceError`."""
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        return CudaDevice(precision)
    return CpuDevice(precision, lanes)
