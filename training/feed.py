"""Batches of real pictures, each a pure function of (seed, step): nothing to save, nothing to lose on resuming."""

import hashlib

import torch
from torch import Tensor

from training.data.contract import TrainingData


def seed_of(*parts: int | str) -> int:
    """A seed for one purpose, e.g. (run's seed, "step", 17, rank).

    Below 2^32: the CPU's generator uses no more of a seed than that.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


class Feed:
    """The data, resident on the device as uint8, in one random permutation after another."""

    def __init__(
        self,
        data: TrainingData,
        batch: int,
        seed: int,
        *,
        mirror: bool,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.data, self.device = data.on(device), device
        self.batch, self.seed, self.mirror = batch, seed, mirror
        self.rank, self.processes = rank, processes
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """This process's share of step `step`, batch / processes items: see the data's own `batch`."""
        mine = self.indices(step)[self.rank :: self.processes].to(self.device)
        return self.data.batch(mine, mirror=self.mirror)

    def indices(self, step: int) -> Tensor:
        """Which pictures (batch,) all processes together see in step `step`."""
        start, end, items = step * self.batch, (step + 1) * self.batch, len(self.data)
        parts = []
        while start < end:
            epoch, position = divmod(start, items)
            parts.append(self._permuted(epoch)[position : position + end - start])
            start += len(parts[-1])
        return torch.cat(parts)

    def _permuted(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(seed_of(self.seed, "epoch", epoch))
            self._epoch, self._permutation = epoch, torch.randperm(len(self.data), generator=generator)
        return self._permutation
