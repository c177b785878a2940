"""What the rest of the service sees of a device: networks that draw rows.

A picture must not depend on what else is in its batch, and kernels may round differently for different batch sizes. So a
network runs in a few fixed sizes only, and only in such as were seen to give the same bits on this machine when it was loaded:
a forward is padded to the next of them. The same picture alone and in company, and a lone request pays for little padding.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

# on the CPU: z (n, z_dim) and, for conditional networks, y (n, classes); or pictures (n, C, h, w)
Rows = tuple[Tensor, ...]
Pixels = NDArray[np.uint8]  # (n, height, width, channels)
Answers = NDArray[Any]  # pixels, or of networks that give numbers: float32 (n, …)


class DeviceError(Exception):
    """The device or precision asked for is not to be had here. The message says what is."""


class Network(ABC):
    """A network on its device. `draw` may be called from several threads at once."""

    sizes: tuple[int, ...]  # rows of a forward, ascending; a picture has the same bits in each
    enough: int = 1  # so many rows are drawn at nearly the best rate
    soon: bool = False  # its smallest forward is over so soon that the event loop can draw it for somebody who is alone
    quick: bool = False  # its largest forward is over before another thread would have the interpreter for it

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
    def prepare_numbers(self, network: nn.Module, rows: int = 1) -> Network:
        """As `prepare_for_any_shape`, for what answers numbers. In float32, and it may take gradients of its own.

        `rows`: how many a forward always has. With more than one, they are all of one shape.
        """


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Convolutions and matrix products in bfloat16, norms in float32; nothing at all for float32."""
    return torch.autocast(device, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()
