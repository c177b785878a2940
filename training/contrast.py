"""Contrastive learning between a picture and its translation: CUT, Park et al. 2020, https://arxiv.org/abs/2007.15651.

A patch of the translation must tell of the patch of the original at the same place, and not of the others: what is where is
kept, without a way back. With two generators it is DCLGAN, Han et al. 2021, https://arxiv.org/abs/2104.07689.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCHES = 64  # of each picture and layer, at random places
DIMENSIONS = 64  # of what patches are compared by
TEMPERATURE = 0.07


class PatchContrast(nn.Module):
    """Two small layers for each of a generator's feature maps, and the loss on what they give."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(c, DIMENSIONS), nn.ReLU(), nn.Linear(DIMENSIONS, DIMENSIONS)) for c in channels
        )

    def forward(self, made: Sequence[Tensor], given: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, C, h, w) of translations and of what they translate, layer by layer → the loss, a scalar.

        The places are drawn from PyTorch's global generator; no gradient goes to `given`.
        """
        losses = []
        for head, translated, original in zip(self.heads, made, given, strict=True):
            positions = translated.shape[2] * translated.shape[3]
            places = torch.randperm(positions, device=translated.device)[:PATCHES]
            queries, keys = (
                F.normalize(head(maps.flatten(2).transpose(1, 2)[:, places]), dim=2) for maps in (translated, original.detach())
            )
            losses.append(patch_nce(queries.float(), keys.detach().float()))
        return torch.stack(losses).mean()


def patch_nce(queries: Tensor, keys: Tensor) -> Tensor:
    """Cross-entropy of finding each query's own key among those of the same picture: unit vectors (B, P, D) → a scalar."""
    similar = torch.bmm(queries, keys.transpose(1, 2)) / TEMPERATURE
    own = torch.arange(similar.shape[1], device=similar.device).expand(len(similar), -1)
    return F.cross_entropy(similar.flatten(0, 1), own.flatten())
