"""Density and coverage: fidelity and diversity apart. Naeem et al. 2020, https://arxiv.org/abs/2002.09797.

The equations and the strict inequality of the authors' package `prdc`, against which the tests hold this. Not the package
itself: it prints, starts eight processes, and keeps three N×N matrices and an index of one, 2 GB at N = 10,000.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.metrics.neighbours import blocks, distances, kth_nearest


@dataclass(frozen=True)
class DensityCoverage:
    """Density: how many real neighbourhoods a generated picture lies in, over k; 1 for equal sets, and may exceed it.

    Coverage: share of real neighbourhoods that hold a generated picture, 0 … 1. For equal distributions it is
    1 − (1 − ½)^k in the limit of large sets, 0.969 for k = 5 (the paper's lemma 2).
    """

    density: float
    coverage: float


def density_coverage(real: Tensor, generated: Tensor, *, k: int = 5) -> DensityCoverage:
    """Of features real (N, D) and generated (M, D), equations 2 and 3; a neighbourhood reaches to the k-th other real one.

    Coverage depends on N and M: compare only values of the same. Raises ValueError for N ≤ k.
    """
    if len(real) <= k:
        raise ValueError(f"{k} neighbours of each need more than {len(real)} pictures")
    radii = kth_nearest(real, k)
    inside = 0
    covered = 0
    for a, b in blocks(real, generated):
        within = distances(real[a:b], generated) < radii[a:b, None]
        inside += int(within.sum())
        covered += int(within.any(dim=1).sum())
    return DensityCoverage(density=inside / (k * len(generated)), coverage=covered / len(real))


def subsample(features: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """`count` rows of features (N, D) without repetition in a fixed random order; all of them if there are no more."""
    generator = torch.Generator().manual_seed(seed)
    return features[torch.randperm(len(features), generator=generator)[:count]]
