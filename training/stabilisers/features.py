"""Feature matching: the generator aims at the mean of what the discriminator sees in real pictures, and not at its word.

Section 3.1 of Salimans et al. 2016, https://arxiv.org/abs/1606.03498.
"""

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from training.stabilisers.layers import as_rows, find_head


@contextlib.contextmanager
def features_seen(discriminator: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, each pass of the discriminator adds to the list what its last layer was given, as rows (…, B, F)."""
    parent, name = find_head(discriminator)
    seen: list[Tensor] = []
    handle = parent.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(as_rows(given[0])))
    try:
        yield seen
    finally:
        handle.remove()


def feature_distance(real: Tensor, fake: Tensor, skip: int = 0) -> Tensor:
    """(E f(x) - E f(G(z)))² of features (…, B, F), averaged over features, where the paper sums them.

    `skip`: rows at the beginning that are a reference batch and count for nothing here.
    """
    of_real, of_fake = (f[..., skip:, :].float().mean(dim=-2) for f in (real, fake))
    return (of_real - of_fake).square().mean()
