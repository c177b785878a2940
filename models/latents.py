"""Latents: the one meaning of "seed 7", wherever a picture is drawn.

`z` of a seed is a pure function of (seed, z_dim), written out here in full so that it outlives any library's choice of
random numbers: the 64-bit words of Philox-4x64-10 keyed with the seed (Salmon et al. 2011; NumPy guarantees a bit
generator's raw stream for ever, and does not guarantee that of `standard_normal`), the top 53 bits as the middle of one of
2^53 equal cells of (0, 1), then the inverse normal distribution function in float64, rounded to float32, which hides
the last-bit differences between mathematics libraries. `torch.Generator` would not do: on CPU it uses only the low 32 bits
of a seed.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_SEED = 2**63 - 1


class _Generator(threading.local):
    """A generator to key anew for each seed: making one costs more than what it is used for."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)


_OF_THIS_THREAD = _Generator()


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Standard normal latents, one row for each seed: (len(seeds), z_dim), float32, on the CPU.

    Raises ValueError for a seed outside 0 … 2^63 - 1.
    """
    for seed in seeds:
        if not 0 <= seed <= MAX_SEED:
            raise ValueError(f"seed {seed} is outside 0 … {MAX_SEED}")
    words = np.empty((len(seeds), z_dim), dtype=np.uint64)
    bits = _OF_THIS_THREAD.philox
    zeros = (0, 0, 0, 0)  # Python's numbers, which are read sooner than an array's
    start: Any = {
        "bit_generator": "Philox", "state": {"counter": zeros, "key": None},
        "buffer": zeros, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0,
    }  # fmt: skip
    for row, seed in zip(words, seeds, strict=True):
        start["state"]["key"] = (seed, 0)
        bits.state = start
        row[:] = bits.random_raw(z_dim)
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    z: Tensor = torch.special.ndtri(torch.from_numpy(uniform))
    return z.to(torch.float32)


def truncate(z: Tensor, truncation: float, codes: int = 0) -> Tensor:
    """Scales latents (n, z_dim) towards their mean: 1 leaves them, 0 gives the mean picture. The last `codes` numbers stay.

    Scaling rather than resampling the tails (BigGAN's truncation) keeps a picture a continuous function of `truncation`.
    """
    if not codes:
        return z * truncation
    return torch.cat([z[:, :-codes] * truncation, z[:, -codes:]], dim=1)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Straight line from a (D,) to b (D,) at positions t (n,) in [0, 1] → (n, D)."""
    return torch.lerp(a[None], b[None], t[:, None])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Great-circle path from a (D,) to b (D,) at positions t (n,) in [0, 1] → (n, D). Shoemake 1985.

    The directions turn on the sphere while the lengths are blended, so that keyframes come out exactly and frames between
    two latents keep the length that the generator was trained on. Falls back to `lerp` where the directions are equal,
    opposite or undefined.
    """
    a64, b64, t64 = a.double(), b.double(), t.double()[:, None]
    length_a, length_b = a64.norm(), b64.norm()
    cosine = torch.dot(a64, b64) / (length_a * length_b)
    if not torch.isfinite(cosine) or cosine.abs() > 1 - 1e-9:
        return lerp(a, b, t)
    angle = torch.arccos(cosine)
    direction = (torch.sin((1 - t64) * angle) * (a64 / length_a) + torch.sin(t64 * angle) * (b64 / length_b)) / torch.sin(angle)
    path: Tensor = direction * torch.lerp(length_a, length_b, t64)
    return path.to(a.dtype)


def one_hot(labels: Sequence[int], classes: int) -> Tensor:
    """Class weights (len(labels), classes) with a single 1 a row, float32, on the CPU."""
    return torch.nn.functional.one_hot(torch.tensor(labels, dtype=torch.int64), classes).to(torch.float32)
