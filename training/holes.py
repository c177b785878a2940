"""Holes to train and to measure inpainting with: (B, 1, S, S), 1 where nothing is known."""

import torch
from torch import Tensor

STROKES = 4  # at most, in one hole
TURNS = 6  # of a stroke, at most
THINNEST, THICKEST = 0.04, 0.12  # radius of a stroke, of the side
LONGEST = 0.4  # of a stroke's straight piece, of the side
BOX = (0.25, 0.6)  # side of a box, of the side
BOXES = 0.4  # share of holes that are a box


def centre_holes(count: int, side: int) -> Tensor:
    """A square of half the side in the middle."""
    holes = torch.zeros(count, 1, side, side)
    quarter = side // 4
    holes[:, :, quarter : side - quarter, quarter : side - quarter] = 1
    return holes


def random_holes(count: int, side: int) -> Tensor:
    """Strokes of a thick pen (free-form masks, Yu et al. 2019, https://arxiv.org/abs/1806.03589), or a box anywhere.

    Draws from PyTorch's global generator of the CPU.
    """
    return torch.stack([_box(side) if torch.rand(()) < BOXES else _strokes(side) for _ in range(count)])[:, None]


def _box(side: int) -> Tensor:
    low, high = BOX
    height, width = ((low + (high - low) * torch.rand(2)) * side).int().tolist()
    top, left = int(torch.randint(side - height + 1, ())), int(torch.randint(side - width + 1, ()))
    hole = torch.zeros(side, side)
    hole[top : top + height, left : left + width] = 1
    return hole


def _strokes(side: int) -> Tensor:
    """All strokes at once: a pixel is in the hole if it is nearer to a straight piece than that piece is thick."""
    starts, ends, radii = [], [], []
    for _ in range(int(torch.randint(1, STROKES + 1, ()))):
        at, radius = torch.rand(2), THINNEST + (THICKEST - THINNEST) * torch.rand(())
        angle = torch.rand(()) * 2 * torch.pi
        for _ in range(int(torch.randint(1, TURNS + 1, ()))):
            angle = angle + torch.randn(()) * 0.8
            to = (at + torch.rand(()) * LONGEST * torch.stack([angle.sin(), angle.cos()])).clamp(0, 1)
            starts.append(at)
            ends.append(to)
            radii.append(radius)
            at = to
    centres = (torch.arange(side) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), dim=-1)[:, :, None]
    a, b = torch.stack(starts), torch.stack(ends)
    along = ((pixels - a) * (b - a)).sum(-1) / (b - a).square().sum(-1).clamp_min(1e-12)
    nearest = a + along.clamp(0, 1)[..., None] * (b - a)
    hole: Tensor = (pixels - nearest).norm(dim=-1) <= torch.stack(radii)
    return hole.any(-1).float()
