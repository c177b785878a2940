"""How far two sets of pictures are apart, as distributions of features: Fréchet and kernel distance.

Fréchet distance: Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6. Kernel distance: Bińkowski et al. 2018,
https://arxiv.org/abs/1801.01401, section 4. Both were defined on Inception's features; numbers on other features, as here,
compare with nothing but themselves and their floor.
"""

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """|μx − μy|² + tr(Σx + Σy − 2 (Σx Σy)^½) of features x (N, D) and y (M, D), N, M ≥ 2, in float64.

    Biased upwards by about D/N: compare only values of the same N. The trace of the root is the sum of the roots of the
    eigenvalues of Σx^½ Σy Σx^½, which is symmetric: unlike `sqrtm` of the product that can't turn complex, even where
    there are fewer pictures than features.
    """
    x, y = x.double(), y.double()
    cov_x, cov_y = (torch.cov(features.T).reshape(x.shape[1], -1) for features in (x, y))  # `cov` gives a scalar for D = 1
    values, vectors = torch.linalg.eigh(cov_x)
    root_x = vectors * values.clamp(min=0).sqrt() @ vectors.T
    root_trace = torch.linalg.eigvalsh(root_x @ cov_y @ root_x).clamp(min=0).sqrt().sum()
    shift = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    # rounding can leave equal sets at -1e-13
    return max(0.0, float(shift + cov_x.trace() + cov_y.trace() - 2 * root_trace))


def kernel_distance(x: Tensor, y: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Unbiased squared MMD with the kernel (x·y/D + 1)³ of features x (N, D) and y (M, D): mean and standard deviation.

    Over `subsets` random subsets of `size` of either set (at most as many as the smaller one has). Unbiased, so values of
    equal distributions scatter about 0 and half of them are negative. Small N is no hindrance.
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(size, len(x), len(y))
    x, y = x.double(), y.double()

    def some(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=generator)[:size]]

    values = torch.stack([poly_mmd(some(x), some(y)) for _ in range(subsets)])
    return float(values.mean()), float(values.std()) if subsets > 1 else 0.0
