"""The CPU."""

import os
import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from app.engine.device.contract import Answers, Device, DeviceError, Network, Pixels, Rows, autocast
from app.engine.device.recorded import (
    Drawn,
    Forward,
    PackedUp,
    SteadyConv,
    SteadyLinear,
    in_pictures,
    record,
    replace_layers,
    settle_layers,
)
from app.engine.options import Precision
from models.hardware import has_bfloat16

CONVOLUTIONAL_SIZES = (1, 2, 3, 4, 5, 6, 7, 8)  # eight rows have the throughput of sixty-four, and are over soon
PICTURE_SIZES = (1, 2, 4, 8)  # of networks that take pictures: theirs are asked for less often, and each takes long to try out
LINEAR_SIZES = (8, 16, 32, 64)  # a product of matrices costs the same for one row as for eight
MOST_INPUT_PIXELS = 8 * 64 * 64  # of a forward that takes pictures
MAX_AUTO_LANES = 8
LONG_S = 0.05  # a forward that takes so long is measured once
GOOD_RATE = 0.7  # of the best: two rows of fashion and of the 64-px generator, which did best with 8 callers of 1, 2 and 3
SOON_S = 0.01  # a request that finds nobody else there may keep the event loop so long from a second one
QUICK_S = 0.006  # half of what the event loop takes to read and answer as many requests as such a forward has rows


class CpuDevice(Device):
    """The CPU: one intra-op thread a lane, and as many lanes as there are cores to use.

    Lanes of one thread each, rather than one lane of many threads: networks this small gain little from being split up, the
    threads of one forward wait for its slowest on a busy machine (measured: 40 times slower beside one other process), and
    pictures do not depend on the number of cores.
    """

    name = "cpu"

    def __init__(self, precision: Precision, lanes: int | None, processes: int = 1) -> None:
        has_bf16 = has_bfloat16(torch.device("cpu"))
        if precision == "bfloat16" and not has_bf16:
            raise DeviceError("this CPU has no bfloat16 arithmetic (AVX512-BF16); set GANYMEDE_PRECISION to float32 or auto")
        self.precision = "bfloat16" if precision == "bfloat16" or (precision == "auto" and has_bf16) else "float32"
        self.lanes = lanes or max(1, min(len(os.sched_getaffinity(0)) // processes, MAX_AUTO_LANES))
        torch.set_num_threads(1)

    def start_thread(self) -> None:
        torch.set_num_threads(1)  # OpenMP keeps its own count for each thread

    def prepare_for_any_shape(self, generator: nn.Module) -> Network:
        return CpuNetwork(self._in_its_fastest_form(generator), self.precision, (1,))

    def prepare_numbers(self, network: nn.Module, rows: int = 1) -> Network:
        return CpuNumbers(network.to(memory_format=torch.channels_last), rows)  # type: ignore[call-overload]

    def prepare(self, generator: nn.Module, example: Rows) -> Network:
        generator = self._in_its_fastest_form(generator)
        sizes: tuple[int, ...] = CONVOLUTIONAL_SIZES if convolutional(generator) else LINEAR_SIZES
        if example[0].dim() == 4:  # pictures: one that is large keeps a core busy by itself
            pixels = example[0].shape[2] * example[0].shape[3]
            sizes = tuple(size for size in PICTURE_SIZES if size == 1 or size * pixels <= MOST_INPUT_PIXELS)
        network = CpuNetwork(generator, self.precision, sizes)
        network.record(example)
        network.sizes = agreeing_sizes(network, example)
        taken = seconds_taken(network, example)
        network.enough = rows_at_good_rate(taken)
        network.soon = min(taken.values()) <= SOON_S
        network.quick = max(taken.values()) <= QUICK_S
        return network

    def _in_its_fastest_form(self, generator: nn.Module) -> nn.Module:
        if not convolutional(generator):
            return generator
        replace_layers(generator, nn.Linear, SteadyLinear)
        if self.precision == "float32":
            settle_layers(generator)
        arranged: nn.Module = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return arranged


def convolutional(network: nn.Module) -> bool:
    """Whether a network convolves anything."""
    return any(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | SteadyConv | PackedUp) for layer in network.modules())


class CpuNetwork(Network):
    """A generator on the CPU: recorded for the sizes that it was prepared with, and run layer by layer for any other shape."""

    def __init__(self, generator: nn.Module, precision: str, sizes: tuple[int, ...]) -> None:
        self._generator = generator
        self._precision = precision
        self._recorded: dict[int, Forward] = {}
        self.sizes = sizes

    def record(self, example: Rows) -> None:
        """Records a forward of each size. In float32: a recording does not know of autocast."""
        if self._precision == "float32":
            made = {size: record(self._generator, tuple(r[:size] for r in example)) for size in self.sizes}
            self._recorded = {size: forward for size, forward in made.items() if forward}

    def for_any_shape(self) -> Network:
        return CpuNetwork(self._generator, self._precision, (1,))

    def images(self, rows: Rows) -> Tensor:
        """What the generator draws, before it is rounded to 8 bits: (n, C, H, W)."""
        return self._forward(rows)[0]

    def _draw(self, rows: Rows) -> Pixels:
        pixels: Pixels = self._forward(rows)[1].numpy()
        return pixels

    def _forward(self, rows: Rows) -> Drawn:
        recorded = self._recorded.get(len(rows[0]))
        if recorded:
            return recorded(rows)
        with autocast("cpu", self._precision):
            return in_pictures(self._generator, rows)


class CpuNumbers(Network):
    """A network on the CPU whose answers are numbers."""

    def __init__(self, network: nn.Module, rows: int) -> None:
        self._network = network
        self.sizes = (rows,)

    def _draw(self, rows: Rows) -> Answers:
        with torch.no_grad():  # and not inference mode, in which nothing inside could take a gradient
            numbers: Answers = self._network(*rows).numpy()
        return numbers


def agreeing_sizes(network: CpuNetwork, example: Rows) -> tuple[int, ...]:
    """Those of the network's sizes in which every picture has the same bits as in the largest, which is one of them.

    Which kernel runs depends on shapes and never on values, so what agrees on some pictures agrees on all.
    """
    largest = network.sizes[-1]
    count = largest * min(2, len(example[0]) // largest)

    def drawn(size: int) -> Tensor:  # the last forward may reach into rows that are not compared
        return torch.cat([network.images(tuple(r[i : i + size] for r in example)) for i in range(0, count, size)])[:count]

    reference = drawn(largest)
    return tuple(size for size in network.sizes if size == largest or torch.equal(drawn(size), reference))


def seconds_taken(network: Network, example: Rows) -> dict[int, float]:
    """How long a forward of each of the network's sizes takes, of the processor: what else the machine does is no matter."""

    def seconds(size: int) -> float:
        rows = tuple(r[:size] for r in example)
        times = []
        for _ in range(3):
            began = time.thread_time()
            network.draw(rows)
            times.append(time.thread_time() - began)
            if times[-1] > LONG_S:
                break
        return min(times)

    return {size: seconds(size) for size in network.sizes}


def rows_at_good_rate(taken: Mapping[int, float]) -> int:
    """The fewest rows of which a forward, padded as they are, draws nearly as many a second as the best forward does.

    `taken`: the seconds of forwards by their size, ascending.
    """
    best = max(size / s for size, s in taken.items())
    padded = {rows: next(size for size in taken if size >= rows) for rows in range(1, max(taken) + 1)}
    return next(rows for rows, size in padded.items() if rows / taken[size] >= best * GOOD_RATE)
