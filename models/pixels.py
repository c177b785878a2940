"""The one mapping between pictures as networks see them and as the world does."""

import torch
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] → uint8 (B, H, W, C), rounded to nearest, values outside clamped.

    Rounds (and does not truncate), so that mid-grey stays 128 and `from_uint8` is undone exactly.
    """
    scaled = images.permute(0, 2, 3, 1).to(torch.float32).clamp(-1, 1).mul(127.5).add_(128.0)
    return scaled.clamp_(max=255).to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """uint8 images of any shape → float32 of the same shape in [-1, 1]."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)
