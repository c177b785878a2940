"""Virtual batch norm: batch norm by the statistics of a batch that stays the same for the whole run.

Section 3.5 of Salimans et al. 2016, https://arxiv.org/abs/1606.03498: a picture is normalised by the mean and the variance of
the reference batch and of itself, so that it does not depend on its neighbours as with batch norm. The paper has it in the
generator; here it is in the discriminator only, because a published generator is the family's own and nothing else.
"""

import torch
from torch import Tensor, nn

from training.stabilisers.layers import find_head, width

EPSILON = 1e-5


class VirtualNorm(nn.Module):
    """Normalises features (…, R + B, F) or maps (R + B, C, H, W), of which the first R rows are the reference batch."""

    def __init__(self, rows: int, width: int, lead: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.rows = rows
        self.scale = nn.Parameter(torch.ones(*lead, 1, width))
        self.shift = nn.Parameter(torch.zeros(*lead, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2) if x.dim() == 4 else x[..., None]  # (…, R + B, F, places)
        mean, square = places.mean(dim=-1), places.square().mean(dim=-1)
        own = torch.full((mean.shape[-2], 1), 1 / (self.rows + 1), device=x.device)
        own[: self.rows] = 0  # the reference batch is in its own statistics already
        mean, square = (torch.lerp(s[..., : self.rows, :].mean(dim=-2, keepdim=True), s, own) for s in (mean, square))
        slope = self.scale * (square - mean.square() + EPSILON).rsqrt()
        offset = self.shift - mean * slope
        if x.dim() == 4:
            slope, offset = slope[..., None, None], offset[..., None, None]
        return x * slope + offset


class VirtuallyNormed(nn.Module):
    """Pictures (B, …) → logits (B,), by a discriminator with a `VirtualNorm` behind every layer but the last.

    `members`: how many independent networks lie side by side in it, each of which has an equal share of every batch.
    """

    def __init__(self, network: nn.Module, reference: Tensor, members: int = 1) -> None:
        super().__init__()
        self.network, self.members, self.rows = network, members, len(reference) // members
        self.reference: Tensor
        self.register_buffer("reference", reference)
        parent, head = find_head(network)
        for name, layer in list(network.named_modules()):
            if width(layer) is not None and layer is not parent.get_submodule(head):
                holder, _, last = name.rpartition(".")
                weight = layer.get_parameter("weight")
                lead = tuple(weight.shape[:1]) if weight.dim() == 3 else ()
                norm = VirtualNorm(self.rows, width(layer) or 0, lead)
                setattr(network.get_submodule(holder), last, nn.Sequential(layer, norm))

    def forward(self, x: Tensor) -> Tensor:
        shares = [t.reshape(self.members, -1, *t.shape[1:]) for t in (self.reference.to(x.dtype), x)]
        logits: Tensor = self.network(torch.cat(shares, dim=1).flatten(0, 1))
        return logits.reshape(self.members, -1)[:, self.rows :].flatten()
