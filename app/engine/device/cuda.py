"""NVIDIA GPUs. Written for hardware that the project's own machines lack: read with care, and never run."""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from app.engine.device.contract import Answers, Device, DeviceError, Network, Pixels, Rows
from app.engine.options import Precision
from models.hardware import has_bfloat16
from models.pixels import to_uint8

CUDA_SIZES = (16,)  # a guess; one size only until somebody has seen on a GPU that others give the same bits
CUDA_LANES = 3  # one computes while another copies and a third encodes


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

    def prepare_numbers(self, network: nn.Module, rows: int = 1) -> Network:
        return CudaNumbers(self._placed(network), rows, self._stream)

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

    def __init__(self, network: nn.Module, rows: int, stream: torch.cuda.Stream) -> None:
        self._network = network
        self._stream = stream
        self.sizes = (rows,)

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
