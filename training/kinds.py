"""Kinds of picture, found without labels: which pictures are neighbours of neighbours.

Spectral clustering (von Luxburg 2007, https://arxiv.org/abs/0711.0189) of histograms of gradients (Dalal & Triggs 2005,
https://doi.org/10.1109/CVPR.2005.177), for small pictures of one light thing on dark ground, like digits. Those are made
upright first: what stays different is the kind, and not the hand.
"""

import warnings

import torch
from skimage.feature import hog
from sklearn.cluster import SpectralClustering
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from models.progress import Progress

CELLS = 7  # along each side, in which directions of gradients are counted
DIMENSIONS = 40  # of the histograms that are kept
NEIGHBOURS = 10
LEAST_MASS = 1e-6  # of a picture, so that an empty one has a middle too


def kinds_of(images: Tensor, count: int, progress: Progress) -> Tensor:
    """Pictures uint8 (N, C, H, W) → the kind of each, 0 … `count` - 1, int64 (N,). The same for the same pictures.

    Half a minute for 20,000 pictures of 28 px on one core.
    """
    task = "finding kinds of picture"
    grey = upright(images.float().mean(dim=1, keepdim=True) / 255)[:, 0].numpy()
    cell = max(1, grey.shape[1] // CELLS)
    histograms = []
    for i, picture in enumerate(grey):
        if i % 100 == 0:
            progress(task, 0.7 * i / len(grey))
        histograms.append(hog(picture, pixels_per_cell=(cell, cell)))
    features = PCA(min(DIMENSIONS, len(grey)), random_state=0).fit_transform(histograms)
    progress(task, 0.7)
    neighbours = {"affinity": "nearest_neighbors", "n_neighbors": NEIGHBOURS}
    clustering = SpectralClustering(count, **neighbours, assign_labels="cluster_qr", eigen_solver="arpack", random_state=0)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of pictures without a way to others: kinds, if ever
        kinds = torch.from_numpy(clustering.fit_predict(features)).long()
    progress(task, 1.0)
    return kinds


def upright(images: Tensor) -> Tensor:
    """Pictures (N, 1, H, W) in [0, 1], moved to the middle and sheared until they don't slant.

    By their moments, as LeCun et al. 1998 did with digits: https://doi.org/10.1109/5.726791.
    """
    height, width = images.shape[2:]
    y, x = ((2 * torch.arange(n) + 1) / n - 1 for n in (height, width))  # of each pixel's middle, as `affine_grid` counts
    y, x = y.view(1, -1, 1), x.view(1, 1, -1)
    mass = images[:, 0].sum(dim=(1, 2), keepdim=True).clamp(min=LEAST_MASS)

    def mean(of: Tensor) -> Tensor:
        return (images[:, 0] * of).sum(dim=(1, 2), keepdim=True) / mass

    middle_x, middle_y = mean(x), mean(y)
    tall = mean((y - middle_y).square())
    slant = mean((x - middle_x) * (y - middle_y)) / tall.clamp(min=LEAST_MASS)
    one, none = torch.ones_like(slant), torch.zeros_like(slant)
    rows = [torch.cat([one, slant, middle_x], dim=2), torch.cat([none, one, middle_y], dim=2)]
    places = F.affine_grid(torch.cat(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, places, align_corners=False)
