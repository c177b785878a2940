"""Is a picture a near-copy of one that the model learned from? An index of the training pictures, small enough to ship.

A picture is shrunk to at most 28 px a side, projected on the training pictures' principal axes, and each of them is scaled to
equal variance: what most pictures share no longer counts, and what tells them apart does. The cosine between two such rows is
their similarity. It means something only beside that of real pictures that the model never saw, which the index holds too.
"""

from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 28  # px
DIMENSIONS = 64
SHIFTS = (-1, 0, 1)  # px of 28, each way: a copy that was moved
STEP = 127  # of the rows as they are kept, in 8 bits
AT_ONCE = 32  # pictures: always as many, or a product of matrices might round otherwise
ROWS_AT_ONCE = 2048  # of the training pictures: their similarities to one lot of pictures stay in the processor's cache
LEAST_VARIANCE = 1e-6  # of an axis that is worth scaling up


@dataclass(frozen=True)
class Nearest:
    """Of N pictures: their similarity to the training picture nearest to each, float (N,) up to 1, and its index (N,)."""

    similarity: Tensor
    index: Tensor


@dataclass(frozen=True)
class Index:
    """What is kept of M training pictures, and the similarities of real pictures that are none of them."""

    mean: Tensor  # (P,) of shrunken pixels
    axes: Tensor  # (P, D), scaled
    rows: Tensor  # (M, D), unit length
    held_out: Tensor  # (K,), ascending

    def nearest(self, images: Tensor) -> Nearest:
        """Of pictures uint8 (N, C, H, W), each of them moved a little for the best fit. A picture's answer is its own."""
        found = [self._nearest(part) for part in torch.split(images, AT_ONCE)]
        return Nearest(torch.cat([f.similarity for f in found]), torch.cat([f.index for f in found]))

    def _nearest(self, images: Tensor) -> Nearest:
        missing = AT_ONCE - len(images)
        moved = moves(F.pad(shrunken(images), (0, 0) * 3 + (0, missing)))
        asked = embedded(torch.cat(moved), self.mean, self.axes)
        parts = torch.split(self.rows, ROWS_AT_ONCE)
        best = torch.stack([(asked @ part.T).amax(dim=1) for part in parts])  # where it is would take half as long again
        similarity, part = best.max(dim=0)
        similarity, move = similarity.view(len(moved), AT_ONCE).max(dim=0)
        chosen = move * AT_ONCE + torch.arange(AT_ONCE)
        pairs = zip(chosen.tolist(), part[chosen].tolist(), strict=True)
        index = torch.tensor([i * ROWS_AT_ONCE + int((parts[i] @ asked[row]).argmax()) for row, i in pairs])
        # rows that were rounded may be a little longer than 1
        return Nearest(similarity[: len(images)].clamp(max=1.0), index[: len(images)])

    def quantile(self, share: float) -> float:
        """The similarity that a share of the held-out real pictures stay below."""
        return float(self.held_out[min(len(self.held_out) - 1, int(share * len(self.held_out)))])

    def pack(self) -> bytes:
        """As a safetensors file."""
        rows = (self.rows * STEP).round().to(torch.int8)
        kept = {"mean": self.mean, "axes": self.axes, "rows": rows, "held_out": self.held_out}
        return safetensors.torch.save({name: tensor.contiguous() for name, tensor in kept.items()})


def unpack(data: bytes) -> Index:
    """An index from its file."""
    kept = safetensors.torch.load(data)
    return Index(kept["mean"], kept["axes"], kept["rows"].float() / STEP, kept["held_out"])


def make_index(train: Tensor, held_out: Tensor, *, dimensions: int = DIMENSIONS) -> Index:
    """Of training and of held-out pictures, uint8 (M, C, H, W) and (K, C, H, W)."""
    pixels = shrunken(train).flatten(1)
    mean = pixels.mean(dim=0)
    centred = (pixels - mean).double()
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(train))
    chosen = slice(-min(dimensions, len(train) - 1, pixels.shape[1]), None)
    scaled = (axes[:, chosen] / variances[chosen].clamp(min=LEAST_VARIANCE).sqrt()).float()
    rows = torch.cat([embedded(part, mean, scaled) for part in torch.split(shrunken(train), 1000)])
    index = Index(mean, scaled, (rows * STEP).round() / STEP, torch.zeros(1))
    return Index(mean, scaled, index.rows, index.nearest(held_out).similarity.sort().values)


def shrunken(images: Tensor, side: int = SIDE) -> Tensor:
    """uint8 (N, C, H, W) → float32 (N, C, h, w) in 0 … 1, area-averaged to at most `side` px a side."""
    size = (min(side, images.shape[2]), min(side, images.shape[3]))
    return torch.cat([F.adaptive_avg_pool2d(part.float() / 255, size) for part in torch.split(images, 1000)])


def embedded(pictures: Tensor, mean: Tensor, axes: Tensor) -> Tensor:
    """Shrunken pictures (N, C, h, w) → rows (N, D) of unit length."""
    return F.normalize((pictures.flatten(1) - mean) @ axes)


def moves(pictures: Tensor) -> list[Tensor]:
    """Pictures (N, C, h, w) moved by `SHIFTS` both ways, their edges repeated: the first is as they were."""
    height, width = pictures.shape[2:]
    reach = max(SHIFTS)
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    ways = sorted(((top, left) for top in SHIFTS for left in SHIFTS), key=lambda way: way != (0, 0))
    return [padded[:, :, reach + top : reach + top + height, reach + left : reach + left + width] for top, left in ways]
