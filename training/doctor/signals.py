"""What the doctor looks at: a handful of numbers from a batch that has been made anyway, every few dozen steps.

None of them knows a loss or a family. Distances are Euclidean between whole pictures (or points), made small first: variety is
a matter of the coarse, and a look must cost next to nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from training.recipe import Recipe

LOOKED_AT = 128  # pictures of a batch, at most
SIDE = 16  # px that pictures are brought to, at most
ENOUGH = 8  # pairs of a class in a batch; with fewer, variety is nobody's guess
COPY = 0.1  # of the usual distance between real neighbours: what is nearer is a copy
EXACT = "donot_use_mm_for_euclid_dist"
FLAT = 1e-4  # spread of real pictures in [-1, 1] below which they are one picture


@dataclass(frozen=True)
class Shown:
    """What a discriminator was last shown, and what it said: pictures (B, …), logits (B, …) of a picture or its patches.

    `y`: class weights (B, classes) of real and generated pictures alike, where there are any.
    """

    real: Tensor
    fake: Tensor
    real_logits: Tensor | None = None
    fake_logits: Tensor | None = None
    y: Tensor | None = None

    def member(self, i: int, members: int) -> "Shown":
        """The share of one of several networks that lie side by side."""
        parts = (self.real, self.fake, self.real_logits, self.fake_logits, self.y)
        return Shown(*(None if part is None else part.chunk(members)[i] for part in parts))  # type: ignore[arg-type]


@runtime_checkable
class Showing(Protocol):
    """A recipe that lets its last batch be seen. Others are watched by their losses and gradients alone."""

    @property
    def shown(self) -> Shown | None:
        """None before the first step."""


@torch.no_grad()
def signals(shown: Shown) -> dict[str, float]:
    """Signals of one batch; a key is absent where a batch is too small to tell.

    `spread`: mean distance between two real pictures (of a class, where there are any). `variety`: the same of generated ones,
    as a share of it. `copies`: share of generated pictures with a twin among the others. `distance`: how far the two are apart
    as distributions, 0 … 1 (energy coefficient, Székely & Rizzo 2013, https://doi.org/10.1016/j.jspi.2013.03.018); without
    bias, so around 0 for the same. `gap`: mean logit of real pictures above that of generated ones. `told_apart`: chance that a
    real picture has the higher logit of two. Where real pictures are all the same, nothing but `spread` means anything.
    """
    real, fake = _small(shown.real), _small(shown.fake)
    count = len(real)
    if count < ENOUGH:
        return {}
    others = ~torch.eye(count, dtype=torch.bool, device=real.device)
    # not by matrix products: what they leave of the distance between equal pictures is no zero
    of_real, of_fake, between = (torch.cdist(a, b, compute_mode=EXACT) for a, b in ((real, real), (fake, fake), (real, fake)))
    made: dict[str, Tensor] = {}
    alike = others if shown.y is None else others & (shown.y[:count] @ shown.y[:count].T > 0.5)
    if alike.sum() >= 2 * ENOUGH:
        made["spread"] = of_real[alike].mean()
        if made["spread"] < FLAT:
            return {"spread": float(made["spread"])}
        made["variety"] = of_fake[alike].mean() / made["spread"]
    nearest = [d.masked_fill(~others, torch.inf).min(dim=1).values for d in (of_real, of_fake)]
    made["copies"] = (nearest[1] <= COPY * nearest[0].median()).float().mean()
    made["distance"] = 1 - (of_real[others].mean() + of_fake[others].mean()) / (2 * between[others].mean()).clamp(min=1e-12)
    if shown.real_logits is not None and shown.fake_logits is not None:
        r, f = (
            logits.reshape(len(logits), -1).mean(dim=1)[:LOOKED_AT].float() for logits in (shown.real_logits, shown.fake_logits)
        )
        made["gap"] = r.mean() - f.mean()
        made["told_apart"] = ((r[:, None] > f).float() + (r[:, None] == f).float() / 2).mean()
    return dict(zip(made, torch.stack(list(made.values())).tolist(), strict=True))


def _small(x: Tensor) -> Tensor:
    """Pictures (B, C, H, W) or points (B, D) → rows (≤ LOOKED_AT, …)."""
    x = x[:LOOKED_AT].detach().float()
    if x.dim() == 4 and max(x.shape[2:]) > SIDE:
        x = F.adaptive_avg_pool2d(x, SIDE)
    return x.flatten(1)


def look(recipe: Recipe) -> dict[str, float]:
    """Everything that can be seen of a recipe after a step, under the names that it has in stats.jsonl."""
    shown = recipe.shown if isinstance(recipe, Showing) else None
    seen = {} if shown is None else {f"doctor/{name}": value for name, value in signals(shown).items()}
    return seen | {f"gradients/{name}": value for name, value in gradient_norms(recipe.optimizers).items()}


def gradient_norms(optimizers: Mapping[str, Optimizer]) -> dict[str, float]:
    """The norm of the gradient that each optimizer last followed, all its parameters together."""
    gradients = {
        name: [p.grad for g in o.param_groups for p in g["params"] if p.grad is not None] for name, o in optimizers.items()
    }
    return {name: float(norm(of)) for name, of in gradients.items() if of}


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """Euclidean, of all of them together."""
    whole: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return whole


def member_norms(network: nn.Module, members: int) -> Tensor:
    """As `gradient_norms`, of each network that lies side by side with others: (members,)."""
    gradients = [p.grad.reshape(members, -1) for p in network.parameters() if p.grad is not None]
    norms: Tensor = torch.linalg.vector_norm(torch.cat(gradients, dim=1), dim=1)
    return norms
