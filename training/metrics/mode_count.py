"""How many of the modes that there should be are there, and how evenly: for data whose modes are known and equally likely."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ModeCount:
    """`modes` that were drawn at all; `kl` in nats, of how often each was drawn from evenly; `tv`, their total variation.

    `fair`: modes drawn at least half as often as they should be, which one lucky picture does not make.
    """

    modes: int
    fair: int
    kl: float
    tv: float


def mode_count(drawn: Tensor, modes: int) -> ModeCount:
    """Of the modes (N,) that pictures were found to show, 0 … `modes` - 1."""
    counts = torch.bincount(drawn, minlength=modes).double()
    shares = counts / counts.sum()
    there = shares[shares > 0]
    kl = (there * there.log()).sum().item() + math.log(modes)
    return ModeCount(
        modes=len(there),
        fair=int((shares >= 0.5 / modes).sum()),
        kl=max(0.0, kl),
        tv=0.5 * (shares - 1 / modes).abs().sum().item(),
    )
