"""How near a picture is to the one that it should be, as papers on super-resolution measure it: PSNR and SSIM.

Pictures are uint8 or float (B, C, H, W) on the 8-bit scale, 0..255. Every value is of one picture, in float64: papers give the
mean over a set of them. Those of super-resolution by n are on luma (`psnr_y`, `ssim_y`) with a border of n px cut off.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

PEAK = 255.0
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # px
SSIM_C1, SSIM_C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def luma(images: Tensor) -> Tensor:
    """RGB (B, 3, H, W), 0..255 → Y (B, 1, H, W) of ITU-R BT.601, 16..235, float64: MATLAB's `rgb2ycbcr`, not rounded.

    Raises ValueError for pictures that are not RGB: grey ones are on a scale of their own, so measure them as they are.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"luma is of RGB pictures (B, 3, H, W), and these are {tuple(images.shape)}")
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64, device=images.device).view(1, 3, 1, 1)
    return (images.double() * (weights / 255)).sum(dim=1, keepdim=True) + 16


def psnr(a: Tensor, b: Tensor, border: int = 0) -> Tensor:
    """Peak signal-to-noise ratio (B,) in dB of pictures a and b (B, C, H, W), over all channels; infinity where they are equal.

    `border` px are cut off at each edge. Raises ValueError for pictures of different shapes or with nothing inside the border.
    """
    a, b = _inside(a, b, border)
    return 10 * torch.log10(PEAK**2 / (a - b).square().mean(dim=(1, 2, 3)))


def ssim(a: Tensor, b: Tensor, border: int = 0) -> Tensor:
    """Structural similarity (B,) of pictures a and b (B, C, H, W), at most 1: the mean over all channels and windows.

    Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861: Gaussian windows of 11 px with σ = 1.5, only those that lie
    wholly inside; the numbers are those of its authors' MATLAB code. `border` px are cut off at each edge first. Raises
    ValueError for pictures of different shapes, or with less than 11 px inside the border.
    """
    a, b = _inside(a, b, border)
    if min(a.shape[2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM has windows of {SSIM_WINDOW} px, and {a.shape[3]}x{a.shape[2]} px are too few for one")
    mean_a, mean_b = _windowed(a), _windowed(b)
    var_a, var_b = _windowed(a * a) - mean_a**2, _windowed(b * b) - mean_b**2
    cov = _windowed(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    structure = (2 * cov + SSIM_C2) / (var_a + var_b + SSIM_C2)
    return (light * structure).mean(dim=(1, 2, 3))


def psnr_y(a: Tensor, b: Tensor, border: int) -> Tensor:
    """As `psnr`, of the luma of RGB pictures (B, 3, H, W)."""
    return psnr(luma(a), luma(b), border)


def ssim_y(a: Tensor, b: Tensor, border: int) -> Tensor:
    """As `ssim`, of the luma of RGB pictures (B, 3, H, W)."""
    return ssim(luma(a), luma(b), border)


def _inside(a: Tensor, b: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Both in float64 (uint8 would wrap around), without the border."""
    if a.dim() != 4 or a.shape != b.shape:  # shapes that broadcast would give a number, and no sensible one
        raise ValueError(f"pictures to compare must be of one shape (B, C, H, W): {tuple(a.shape)} and {tuple(b.shape)}")
    height, width = a.shape[2:]
    if border < 0 or 2 * border >= min(height, width):
        raise ValueError(f"a border of {border} px leaves nothing of {width}x{height} px")
    rows, columns = slice(border, height - border), slice(border, width - border)
    return a[:, :, rows, columns].double(), b[:, :, rows, columns].double()


def _windowed(x: Tensor) -> Tensor:
    """Gaussian means of every window of x (B, C, H, W) → (B, C, H - 10, W - 10)."""
    channels = x.shape[1]
    places = torch.arange(SSIM_WINDOW, dtype=torch.float64, device=x.device) - SSIM_WINDOW // 2
    weights = torch.exp(-places.square() / (2 * SSIM_SIGMA**2))
    line = (weights / weights.sum()).view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(x, line, groups=channels), line.transpose(2, 3), groups=channels)
