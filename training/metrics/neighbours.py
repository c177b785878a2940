"""Exact nearest neighbours in blocks: memory stays bounded, whatever the number of pictures."""

import torch
from torch import Tensor

BLOCK_ELEMENTS = 2**25  # of a block of the distance matrix: 128 MiB in float32


def blocks(x: Tensor, y: Tensor) -> list[tuple[int, int]]:
    """Row ranges of x such that each block of the distance matrix x by y stays bounded."""
    rows = max(1, BLOCK_ELEMENTS // max(1, len(y)))
    return [(start, min(start + rows, len(x))) for start in range(0, len(x), rows)]


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (n, m) of x (n, D) and y (m, D). By way of a matrix product, so coarse for near-equal rows."""
    return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")


def kth_nearest(x: Tensor, k: int, rows: Tensor | None = None) -> Tensor:
    """Distance of each row of x (N, D), or of those in `rows` (n,), to its k-th nearest other row of x, k < N."""
    queries = x if rows is None else x[rows]
    # k + 1: every row finds itself first
    return torch.cat([distances(queries[a:b], x).kthvalue(k + 1, dim=1).values for a, b in blocks(queries, x)])
