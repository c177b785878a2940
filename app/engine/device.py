"""All code that knows about a particular device. The rest of the service sees `Device` and `Network`.

A picture must not depend on what else is in its batch, and kernels may round differently for different batch sizes. So a
network runs in a few fixed sizes only, and only in such as were seen to give the same bits on this machine when it was loaded:
a forward is padded to the next of them. The same picture alone and in company, and a lone request pays for little padding.
"""

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from app.engine.options import DeviceName, Precision
from models.hardware import has_bfloat16
from models.pixels import to_uint8

# on the CPU: z (n, z_dim) and, for conditional networks, y (n, classes); or pictures (n, C, h, w)
Rows = tuple[Tensor, ...]
Pixels = NDArray[np.uint8]  # (n, height, width, channels)
Answers = NDArray[Any]  # pixels, or of networks that give numbers: float32 (n, …)
L = TypeVar("L", bound=nn.Module)

CONVOLUTIONAL_SIZES = (1, 2, 4, 8)  # eight rows have the throughput of sixty-four, and are over soon
LINEAR_SIZES = (8, 16, 32, 64)  # a product of matrices costs the same for one row as for eight
CUDA_SIZES = (16,)  # a guess; one size only until somebody has seen on a GPU that others give the same bits
MOST_INPUT_PIXELS = 8 * 64 * 64  # of a forward that takes pictures
MAX_AUTO_LANES = 8
CUDA_LANES = 3  # one computes while another copies and a third encodes


class DeviceError(Exception):
    """The device or precision asked for is not to be had here. The message says what is."""


class Network(ABC):
    """A network on its device. `draw` may be called from several threads at once."""

    sizes: tuple[int, ...]  # rows of a forward, ascending; a picture has the same bits in each
    enough: int = 1  # so many rows are drawn at half the best rate or better

    def draw(self, rows: Rows) -> Answers:
        """Up to `sizes[-1]` pictures, or rows of numbers. Raises `MemoryError` if there is no room for so many at once."""
        count = len(rows[0])
        if count > self.sizes[-1]:
            raise ValueError(f"{count} rows do not fit in a forward of {self.sizes[-1]}")
        missing = next(size for size in self.sizes if size >= count) - count
        try:
            # any finite row would do: rows don't see each other
            return self._draw(tuple(with_zeros(r, missing) for r in rows) if missing else rows)[:count]
        except RuntimeError as error:  # torch has no class of its own for the CPU's
            if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
                raise MemoryError(str(error)) from error
            raise

    @abstractmethod
    def _draw(self, rows: Rows) -> Answers:
        """Exactly one of `sizes` rows."""

    def for_any_shape(self) -> "Network":
        """The same for rows of other heights and widths than those that it was prepared with, one at a time."""
        return self


def with_zeros(rows: Tensor, count: int) -> Tensor:
    """Rows (n, …) and `count` rows of zeros after them."""
    return F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, count))


class Device(ABC):
    """Where networks run, in up to `lanes` threads at a time."""

    name: str
    precision: str
    lanes: int

    @abstractmethod
    def start_thread(self) -> None:
        """Called once in each thread that computes anything."""

    @abstractmethod
    def prepare(self, generator: nn.Module, example: Rows) -> Network:
        """Brings a generator in eval mode here, in the form that is fastest here. It is used up: don't call it again.

        `example`: rows of some real requests, as many as the largest size at least, to choose `sizes` with.
        """

    @abstractmethod
    def prepare_for_any_shape(self, generator: nn.Module) -> Network:
        """As `prepare`, for one row of any height and width at a time: there are no sizes to choose."""

    @abstractmethod
    def prepare_numbers(self, network: nn.Module) -> Network:
        """As `prepare_for_any_shape`, for what answers numbers. In float32, and it may take gradients of its own."""


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

    def prepare_numbers(self, network: nn.Module) -> Network:
        return CpuNumbers(network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def prepare(self, generator: nn.Module, example: Rows) -> Network:
        generator = self._in_its_fastest_form(generator)
        sizes: tuple[int, ...] = CONVOLUTIONAL_SIZES if convolutional(generator) else LINEAR_SIZES
        if example[0].dim() == 4:  # pictures: one that is large keeps a core busy by itself
            pixels = example[0].shape[2] * example[0].shape[3]
            sizes = tuple(size for size in sizes if size == 1 or size * pixels <= MOST_INPUT_PIXELS)
        network = CpuNetwork(generator, self.precision, sizes)
        network.sizes = agreeing_sizes(network, example)
        network.enough = rows_at_half_rate(network, example)
        return network

    def _in_its_fastest_form(self, generator: nn.Module) -> nn.Module:
        if not convolutional(generator):
            return generator
        replace_layers(generator, nn.Linear, SteadyLinear)
        if self.precision == "float32" and can_pack():
            replace_layers(generator, nn.ConvTranspose2d, PackedUp)
        arranged: nn.Module = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return arranged


def convolutional(network: nn.Module) -> bool:
    """Whether a network convolves anything."""
    return any(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | PackedUp) for layer in network.modules())


class CpuNetwork(Network):
    """A generator on the CPU, run as it is."""

    def __init__(self, generator: nn.Module, precision: str, sizes: tuple[int, ...]) -> None:
        self._generator = generator
        self._precision = precision
        self.sizes = sizes

    def for_any_shape(self) -> Network:
        return CpuNetwork(self._generator, self._precision, (1,))

    def images(self, rows: Rows) -> Tensor:
        """What the generator draws, before it is rounded to 8 bits: (n, C, H, W)."""
        with torch.inference_mode(), autocast("cpu", self._precision):
            images: Tensor = self._generator(*rows)
        return images

    def _draw(self, rows: Rows) -> Pixels:
        with torch.inference_mode():
            pixels: Pixels = to_uint8(self.images(rows)).numpy()
        return pixels


class CpuNumbers(Network):
    """A network on the CPU whose answers are numbers."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.sizes = (1,)

    def _draw(self, rows: Rows) -> Answers:
        with torch.no_grad():  # and not inference mode, in which nothing inside could take a gradient
            numbers: Answers = self._network(*rows).numpy()
        return numbers


class SteadyLinear(nn.Module):
    """A linear layer x (n, in) → (n, out) whose rows have the same bits for every n.

    Libraries take other kernels for a few rows than for many. Here there are always eight, or a multiple: beside
    convolutions that costs nothing, as reading the weights is what takes the time.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        missing = -len(x) % 8
        out: Tensor = self.linear(F.pad(x, (0, 0, 0, missing)))[: len(x)] if missing else self.linear(x)
        return out


class PackedUp(nn.Module):
    """A transposed convolution whose weights have been brought into oneDNN's own layout once, and not at every call.

    As inductor packs them, without its compiler. It matters for a few rows, where packing takes longer than the product.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.bias = layer.bias
        self.places = [list(x) for x in (layer.padding, layer.output_padding, layer.stride, layer.dilation)]
        self.groups = layer.groups
        with torch.inference_mode():
            reorder = torch.ops.mkldnn._reorder_convolution_transpose_weight
            self.weight = reorder(layer.weight.contiguous(), *self.places, layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        apply = torch.ops.mkldnn._convolution_transpose_pointwise
        out: Tensor = apply(x, self.weight, self.bias, *self.places, self.groups, "none", [], "")
        return out


def replace_layers(network: nn.Module, kind: type[L], replacement: Callable[[L], nn.Module]) -> None:
    """Puts another layer in the place of every layer of a kind, however deep inside."""
    for name, layer in list(network.named_children()):
        if isinstance(layer, kind):
            setattr(network, name, replacement(layer))
        else:
            replace_layers(layer, kind, replacement)


def can_pack() -> bool:
    """Whether this build of torch packs weights: the functions are torch's own, for its compiler, and may move."""
    try:
        layer = PackedUp(nn.ConvTranspose2d(2, 2, kernel_size=4, stride=2, padding=1))
        with torch.inference_mode():
            layer(torch.zeros(1, 2, 4, 4))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


def agreeing_sizes(network: CpuNetwork, example: Rows) -> tuple[int, ...]:
    """Those of the network's sizes in which every picture has the same bits as in the largest, which is one of them.

    Which kernel runs depends on shapes and never on values, so what agrees on some pictures agrees on all.
    """
    largest = network.sizes[-1]
    count = largest * min(2, len(example[0]) // largest)

    def drawn(size: int) -> Tensor:
        return torch.cat([network.images(tuple(r[i : i + size] for r in example)) for i in range(0, count, size)])

    reference = drawn(largest)
    return tuple(size for size in network.sizes if size == largest or torch.equal(drawn(size), reference))


def rows_at_half_rate(network: Network, example: Rows) -> int:
    """The fewest rows of which a forward, padded as they are, draws at least half as many a second as the best forward does."""

    def seconds(size: int) -> float:
        rows = tuple(r[:size] for r in example)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            network.draw(rows)
            times.append(time.perf_counter() - began)
        return min(times)

    taken = {size: seconds(size) for size in network.sizes}
    best = max(size / s for size, s in taken.items())
    padded = {rows: next(size for size in network.sizes if size >= rows) for rows in range(1, network.sizes[-1] + 1)}
    return next(rows for rows, size in padded.items() if rows / taken[size] >= best / 2)


class CudaDevice(Device):
    """One NVIDIA GPU: a graph for each size, page-locked copies on a stream of their own, bfloat16 where the GPU has it.

    Written for hardware that the project's own machines lack: it has been read with care and has not been run there. Any
    change here should be tried on a GPU first.
    """

    name = "cuda"
    lanes = CUDA_LANES

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

    def prepare_for_any_shape(self, generator: nn.Module) -> Network:
        return CudaEagerNetwork(self._placed(generator), self.precision, self._stream)

    def prepare_numbers(self, network: nn.Module) -> Network:
        return CudaNumbers(self._placed(network), self._stream)

    def prepare(self, generator: nn.Module, example: Rows) -> Network:
        return CudaNetwork(self._placed(generator), example, CUDA_SIZES, self.precision, self._stream)

    def _placed(self, generator: nn.Module) -> nn.Module:
        placed: nn.Module = generator.to("cuda").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.cuda.synchronize()  # the copies ran on the default stream, and networks run on another
        return placed


class CudaEagerNetwork(Network):
    """A generator on the GPU without a graph: for rows whose shapes are not known beforehand."""

    def __init__(self, generator: nn.Module, precision: str, stream: torch.cuda.Stream) -> None:
        self.sizes = (1,)
        self._generator = generator
        self._precision = precision
        self._stream = stream

    def forward(self, rows: Sequence[Tensor]) -> Tensor:
        """Rows on the GPU → uint8 (n, H, W, C) there."""
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, self._precision == "bfloat16", cache_enabled=False):
            return to_uint8(self._generator(*rows))

    def _draw(self, rows: Rows) -> Pixels:
        with torch.cuda.stream(self._stream):
            drawn = self.forward([r.pin_memory().to("cuda", non_blocking=True) for r in rows])
            return drawn.cpu().numpy()  # waits for the stream


class CudaNumbers(Network):
    """A network on the GPU whose answers are numbers."""

    def __init__(self, network: nn.Module, stream: torch.cuda.Stream) -> None:
        self._network = network
        self._stream = stream
        self.sizes = (1,)

    def _draw(self, rows: Rows) -> Answers:
        with torch.no_grad(), torch.cuda.stream(self._stream):
            numbers: Answers = self._network(*(r.pin_memory().to("cuda", non_blocking=True) for r in rows)).cpu().numpy()
        return numbers


class CudaNetwork(Network):
    """A generator as CUDA graphs, one a size: a forward costs one launch instead of one for each of its kernels."""

    def __init__(
        self, generator: nn.Module, example: Rows, sizes: tuple[int, ...], precision: str, stream: torch.cuda.Stream
    ) -> None:
        self.sizes = sizes
        self._eager = CudaEagerNetwork(generator, precision, stream)
        self._stream = stream
        self._turn = threading.Lock()  # a graph's inputs and output have one place in memory
        self._graphs = {size: self._capture(tuple(r[:size] for r in example)) for size in sizes}

    def for_any_shape(self) -> Network:
        return self._eager

    def _capture(self, example: Rows) -> tuple[torch.cuda.CUDAGraph, Rows, Tensor]:
        inputs = tuple(r.to("cuda") for r in example)
        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            for _ in range(3):  # libraries choose kernels and allocate workspaces on the first calls, which a graph can't hold
                self._eager.forward(inputs)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            output = self._eager.forward(inputs)
        return graph, inputs, output

    def _draw(self, rows: Rows) -> Pixels:
        graph, inputs, output = self._graphs[len(rows[0])]
        # pinned memory stays referenced until the synchronize below, so the copies can't touch freed pages
        pinned = tuple(r.pin_memory() for r in rows)
        host = torch.empty(output.shape, dtype=torch.uint8, pin_memory=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with self._turn, torch.cuda.stream(self._stream):
            for place, row in zip(inputs, pinned, strict=True):
                place.copy_(row, non_blocking=True)
            graph.replay()
            host.copy_(output, non_blocking=True)
            done.record(self._stream)
        done.synchronize()
        return host.numpy().copy()


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Convolutions and matrix products in bfloat16, norms in float32; nothing at all for float32."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def open_device(name: DeviceName, precision: Precision, lanes: int | None = None, processes: int = 1) -> Device:
    """The device of that name; `auto` takes a GPU where there is one. `processes` share it. Raises `DeviceError`."""
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        return CudaDevice(precision)
    return CpuDevice(precision, lanes, processes)
