"""DiffAugment: the same random, differentiable changes to real and generated pictures. Zhao et al. 2020.

https://arxiv.org/abs/2006.10738. For small data sets: the discriminator can't learn the training set by heart if it never
sees a picture twice, and the generator isn't taught the changes, because its pictures get them too.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def brightness(x: Tensor) -> Tensor:
    """Adds up to ±0.5 to a whole picture."""
    return x + (torch.rand(len(x), 1, 1, 1, device=x.device) - 0.5)


def saturation(x: Tensor) -> Tensor:
    """Scales the distance of each pixel to its own grey by 0 … 2."""
    grey = x.mean(dim=1, keepdim=True)
    return grey + (x - grey) * (torch.rand(len(x), 1, 1, 1, device=x.device) * 2)


def contrast(x: Tensor) -> Tensor:
    """Scales the distance of each pixel to the picture's mean by 0.5 … 1.5."""
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * (torch.rand(len(x), 1, 1, 1, device=x.device) + 0.5)


def color(x: Tensor) -> Tensor:
    """`brightness`, `saturation` and `contrast`."""
    return contrast(saturation(brightness(x)))


def translation(x: Tensor) -> Tensor:
    """Shifts by up to an eighth of each side; what comes into view is 0, mid-grey, as in the paper's code."""
    batch, _, height, width = x.shape
    reach_y, reach_x = (height + 4) // 8, (width + 4) // 8
    dy = torch.randint(-reach_y, reach_y + 1, (batch, 1, 1), device=x.device)
    dx = torch.randint(-reach_x, reach_x + 1, (batch, 1, 1), device=x.device)
    rows = (torch.arange(height, device=x.device)[None, :, None] + dy + 1).clamp(0, height + 1)
    columns = (torch.arange(width, device=x.device)[None, None, :] + dx + 1).clamp(0, width + 1)
    padded = F.pad(x, (1, 1, 1, 1))
    pictures = torch.arange(batch, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[pictures, rows, columns].permute(0, 3, 1, 2)


def cutout(x: Tensor) -> Tensor:
    """Blanks a square of half the side at a random place, which may lie partly outside."""
    batch, _, height, width = x.shape
    top = torch.randint(-(height // 4), height - height // 4, (batch, 1, 1), device=x.device)
    left = torch.randint(-(width // 4), width - width // 4, (batch, 1, 1), device=x.device)
    rows = torch.arange(height, device=x.device)[None, :, None]
    columns = torch.arange(width, device=x.device)[None, None, :]
    hole = (rows >= top) & (rows < top + height // 2) & (columns >= left) & (columns < left + width // 2)
    return x * ~hole[:, None]


def affine(x: Tensor) -> Tensor:
    """Turns by up to 15°, scales by 0.88 … 1.12, shears by up to 0.2 and shifts by up to a fourteenth of each side.

    What comes into view repeats the edges.
    """

    def within(most: float) -> Tensor:
        return (torch.rand(len(x), device=x.device) * 2 - 1) * most

    turn, scale, shear = within(math.radians(15)), 1 + within(0.12), within(0.2)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    rows = torch.stack([cos, shear - sin, within(1 / 7), sin, cos, within(1 / 7)], dim=1)  # a side is 2 long
    grid = F.affine_grid(rows.reshape(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def noise(x: Tensor) -> Tensor:
    """Adds Gaussian noise of standard deviation 0.1 (instance noise, https://arxiv.org/abs/1610.04490)."""
    return x + 0.1 * torch.randn_like(x)


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
    "affine": affine,
    "noise": noise,
}


def augment(x: Tensor, policy: Sequence[str]) -> Tensor:
    """Images x (B, C, H, W) in [-1, 1] → the same, changed by each augmentation of `policy` in order."""
    for name in policy:
        x = AUGMENTATIONS[name](x)
    return x
