"""Does a model repeat its training pictures? Nearest neighbours of generated pictures, judged by those of held-out ones.

A distance means something only beside its surroundings: plain pictures lie close to each other whether copied or not. So a
picture's *closeness* is its distance to the nearest training picture over that one's distance to its own k-th nearest fellow,
and the alarm goes where closeness falls below nearly everything that held-out real pictures show, which can't be copies.

Candidates come from two searches, in a classifier's features (which a shift hardly moves) and in shrunken pixels (which noise
hardly moves); distances to them are then of pixels, with the picture shifted and mirrored for the best fit. Kin to the
data-copying test of Meehan et al. 2020 (https://arxiv.org/abs/2004.05675). Such detectors are easily blind, as plain nearest
neighbours in either space were to shifted copies when this was written; so the tests plant copies and ask that they are found.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.copies import shrunken
from training.metrics.neighbours import blocks, distances, kth_nearest

QUANTILE = 0.001
CANDIDATES = 20  # of each space
REACH_PX = 2  # shifts that a copy may hide behind
SEARCH_SIDE, ALIGN_SIDE = 14, 32  # pictures are shrunk to these at most
BLOCK_ELEMENTS = 2**25


@dataclass(frozen=True)
class View:
    """N pictures as memorisation looks at them: uint8 (N, C, H, W), and their features (N, D) in a classifier."""

    images: Tensor
    features: Tensor


@dataclass(frozen=True)
class Neighbours:
    """Of N pictures: the nearest training picture's index (N,), and the closeness (N,), which is 0 for a copy."""

    index: Tensor
    closeness: Tensor


@dataclass(frozen=True)
class Memorisation:
    """`share` of the generated pictures are flagged, and `floor` of held-out real ones that took no part in the threshold.

    `flagged` (N,) marks generated pictures, `nearest` (N,) is the training picture next to each, and `closeness` (N,) is in
    units of the threshold: below 1 is flagged.
    """

    share: float
    floor: float
    flagged: Tensor
    nearest: Tensor
    closeness: Tensor

    def closest(self, count: int) -> list[tuple[int, int]]:
        """Index pairs (generated, training) of the closest pictures, closest first: for a grid to look at."""
        order = self.closeness.argsort(stable=True)[:count].tolist()
        return [(i, int(self.nearest[i])) for i in order]


def candidates(queries: Tensor, train: Tensor, count: int) -> Tensor:
    """Indices (N, count) of the nearest rows of train (M, D) to each row of queries (N, D)."""
    parts = [distances(queries[a:b], train).topk(count, largest=False).indices for a, b in blocks(queries, train)]
    return torch.cat(parts)


def variants(images: Tensor, *, mirror: bool) -> Iterator[Tensor]:
    """Pictures (N, C, H, W) shifted by up to REACH_PX, edges repeated, and, if `mirror`, all of that mirrored."""
    height, width = images.shape[2:]
    for flipped in (images, images.flip(3)) if mirror else (images,):
        padded = F.pad(flipped, (REACH_PX,) * 4, mode="replicate")
        for top in range(2 * REACH_PX + 1):
            for left in range(2 * REACH_PX + 1):
                yield padded[:, :, top : top + height, left : left + width]


def best_fit(queries: Tensor, train: Tensor, among: Tensor, *, mirror: bool) -> tuple[Tensor, Tensor]:
    """Of pictures (N, C, H, W), the nearest of train (M, C, H, W) among (N, K) candidates: distances and indices (N,)."""
    chosen_distances, chosen = [], []
    ways = 2 * (2 * REACH_PX + 1) ** 2
    batch = max(1, BLOCK_ELEMENTS // ((ways + among.shape[1]) * queries[0].numel()))
    for start in range(0, len(queries), batch):
        part = slice(start, start + batch)
        moved = torch.stack(list(variants(queries[part], mirror=mirror)), dim=1).flatten(2)  # (b, ways, pixels)
        others = train[among[part]].flatten(2)  # (b, K, pixels)
        matrix = torch.cdist(moved, others, compute_mode="use_mm_for_euclid_dist").flatten(1)
        way, other = matrix.argmin(dim=1).div(others.shape[1], rounding_mode="floor"), matrix.argmin(dim=1) % others.shape[1]
        rows = torch.arange(len(moved))
        # the matrix product's rounding would give exact copies a distance above 0
        chosen_distances.append(torch.linalg.vector_norm(moved[rows, way] - others[rows, other], dim=1))
        chosen.append(among[part][rows, other])
    return torch.cat(chosen_distances), torch.cat(chosen)


def neighbours(queries: View, train: View, *, mirror: bool, k: int = 5) -> Neighbours:
    """Nearest training picture and closeness of each query; train has more than k pictures."""
    count = min(CANDIDATES, len(train.images))
    small_train = shrunken(train.images, SEARCH_SIDE).flatten(1)
    small_queries = shrunken(queries.images, SEARCH_SIDE).flatten(1)
    among = torch.cat(
        [candidates(queries.features, train.features, count), candidates(small_queries, small_train, count)], dim=1
    )
    distance, index = best_fit(shrunken(queries.images, ALIGN_SIDE), shrunken(train.images, ALIGN_SIDE), among, mirror=mirror)
    unique, inverse = index.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    # a picture that the training data holds k times over has radius 0: only exact copies of it are close then
    radius = kth_nearest(small_train, k, rows=unique).clamp(min=1e-6)[inverse]
    return Neighbours(index, distance / radius)


def threshold(held_out: Tensor, quantile: float = QUANTILE) -> float:
    """The closeness that a share `quantile` of held-out pictures stay below; the smallest one where they are too few."""
    rank = max(1, round(quantile * len(held_out)))
    # above 0 where the test split itself repeats training pictures: exact copies are caught all the same
    return max(float(held_out.kthvalue(rank).values), 1e-6)


def memorisation(generated: View, held_out: View, train: View, *, mirror: bool, quantile: float = QUANTILE) -> Memorisation:
    """Flags generated pictures that are closer to a training picture than held-out real ones are.

    Every second held-out picture sets the threshold, the others give the floor. `mirror`: mirrored copies count, as they should
    where training mirrors. Raises ValueError for fewer than 4 held-out or 6 training pictures.
    """
    if len(held_out.images) < 4 or len(train.images) < 6:
        raise ValueError(
            f"{len(held_out.images)} held-out and {len(train.images)} training pictures are too few to tell copies apart"
        )
    real = neighbours(held_out, train, mirror=mirror).closeness
    limit = threshold(real[::2], quantile)
    found = neighbours(generated, train, mirror=mirror)
    flagged = found.closeness < limit
    return Memorisation(
        share=flagged.double().mean().item(),
        floor=(real[1::2] < limit).double().mean().item(),
        flagged=flagged,
        nearest=found.index,
        closeness=found.closeness / limit,
    )
