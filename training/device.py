"""The hardware: the one place that knows about accelerators, processes and precision.

Lightning Fabric finds the device and speaks with the other processes that `torchrun` started; the loop and the recipes stay
plain PyTorch. Tested on the CPU with one and two processes. Written for CUDA with the same care, and never run on one.
"""

import os
import platform
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.hardware import has_bfloat16
from training.config import DeviceConfig

M = TypeVar("M", bound=nn.Module)


class Hardware:
    """The device of this process, the numbers it computes in, and its place among the processes of the run."""

    def __init__(self, config: DeviceConfig) -> None:
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun
        self.fabric = Fabric(
            accelerator=config.accelerator,
            devices=processes,
            num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
            strategy="ddp" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "auto",
        )
        self.fabric.launch()
        self.device = self.fabric.device
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.set_flush_denormal(True)  # dying activations would otherwise slow the CPU a hundredfold
        # the same run twice gives the same bits; an operation that has no such version warns instead of failing
        torch.use_deterministic_algorithms(True, warn_only=True)
        # nothing reads what they would fill, which takes a tenth of a step
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        wants_bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and has_bfloat16(self.device))
        self.dtype = torch.bfloat16 if wants_bfloat16 else torch.float32

    @property
    def rank(self) -> int:
        """0 for the process that writes files."""
        return self.fabric.global_rank

    @property
    def processes(self) -> int:
        """How many processes share each batch."""
        return self.fabric.world_size

    def place(self, network: M) -> M:
        """Moves a network to the device in the memory format that convolutions are fastest in."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, matrix products and convolutions run in the run's precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def average_gradients(self, network: nn.Module) -> None:
        """Makes every process hold the mean of all processes' gradients.

        By hand rather than through DistributedDataParallel, which allows neither two forward passes before a backward
        one nor gradients of gradients without special cases; a GAN step has both.
        """
        self.average([p.grad for p in network.parameters() if p.grad is not None])

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Makes every process hold the mean of all processes' tensors, in place, in one message."""
        if self.processes == 1:
            return
        mean = self.fabric.all_reduce(torch.cat([t.flatten() for t in tensors]), reduce_op="mean")
        assert isinstance(mean, Tensor)
        for tensor, averaged in zip(tensors, torch.split(mean, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(averaged.view_as(tensor))

    def agree(self, word: bool) -> bool:
        """What the process of rank 0 says, in every process."""
        agreed: bool = self.fabric.broadcast(word) if self.processes > 1 else word
        return agreed

    def describe(self) -> str:
        """The hardware in a few words, for a model card."""
        kind = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _cpu_name()
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.processes} x {kind}{threads}, {str(self.dtype).removeprefix('torch.')}"


def _cpu_name() -> str:
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"CPU ({platform.machine()}, {instructions})"
