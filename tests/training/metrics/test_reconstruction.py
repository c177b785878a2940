"""PSNR and SSIM: against torchmetrics, numbers worked by hand, and the figure that papers give for bicubic on Set5."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from training.metrics.reconstruction import luma, psnr, psnr_y, ssim, ssim_y


def pictures(batch: int = 3, channels: int = 3, height: int = 24, width: int = 31) -> tuple[Tensor, Tensor]:
    """Something smooth and the same with noise, stronger from picture to picture, uint8."""
    torch.manual_seed(0)
    a = torch.nn.functional.interpolate(torch.rand(batch, channels, 5, 5) * 255, (height, width), mode="bilinear")
    noise = torch.randn(a.shape) * 10 * torch.arange(1, batch + 1).view(-1, 1, 1, 1)
    return a.to(torch.uint8), (a + noise).clamp(0, 255).to(torch.uint8)


def colour(*rgb: int) -> Tensor:
    return torch.tensor(rgb, dtype=torch.uint8).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("rgb", "y"),
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81.481), ((0, 255, 0), 144.553), ((0, 0, 255), 40.966)],
)
def test_luma_is_matlabs(rgb: tuple[int, int, int], y: float) -> None:
    assert luma(colour(*rgb)).item() == pytest.approx(y)
    assert luma(colour(*rgb).float()).item() == pytest.approx(y)


def test_luma_is_of_rgb_only() -> None:
    assert luma(pictures()[0]).shape == (3, 1, 24, 31)
    for shape in ((1, 1, 8, 8), (3, 8, 8), (1, 8, 8, 3)):
        with pytest.raises(ValueError, match="RGB pictures"):
            luma(torch.zeros(shape))


def test_psnr_of_known_distances() -> None:
    a = torch.full((3, 3, 4, 4), 100, dtype=torch.uint8)
    b = torch.stack([a[0], a[1] - 1, a[2] + 16])  # 255² / 1, 255² / 16²: subtracted as bytes, 99 - 100 would be 255
    values = psnr(a, b).tolist()
    assert values == [math.inf, pytest.approx(20 * math.log10(255)), pytest.approx(20 * math.log10(255 / 16))]
    assert psnr(b, a).tolist() == values


def test_psnr_is_that_of_torchmetrics() -> None:
    a, b = pictures()
    reference = PeakSignalNoiseRatio(data_range=255.0, reduction="none", dim=(1, 2, 3))
    assert torch.allclose(psnr(a, b), reference(b.double(), a.double()).double(), atol=1e-4)
    assert torch.equal(psnr(a, b), psnr(a.float(), b.float()))


def test_a_border_is_cut_off() -> None:
    a = torch.full((1, 3, 20, 24), 100, dtype=torch.uint8)
    b = a.clone()
    b[:, :, 2:-2, 2:-2] -= 1
    b[:, :, :2] = b[:, :, -2:] = 255
    b[:, :, :, :2] = b[:, :, :, -2:] = 255
    assert psnr(a, b, border=2).item() == pytest.approx(48.1308, abs=1e-4)
    assert psnr(a, b, border=1).item() < 30 and psnr(a, b).item() < psnr(a, b, 1).item()
    assert ssim(a, b, border=2).item() > 0.9999 > ssim(a, b, border=1).item()
    assert ssim(a, b, border=2).item() == ssim(a[:, :, 2:-2, 2:-2], b[:, :, 2:-2, 2:-2]).item()


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_torchmetrics_where_windows_lie_inside(channels: int) -> None:
    a, b = pictures(channels=channels)
    reference = StructuralSimilarityIndexMeasure(data_range=255.0, reduction="none", return_full_image=True)
    _, everywhere = reference(b.double(), a.double())
    expected = everywhere[:, :, 5:-5, 5:-5].mean(dim=(1, 2, 3))  # it reflects the pictures at their edges, as MATLAB does not
    assert torch.allclose(ssim(a, b), expected.double(), atol=1e-6)
    assert 0.1 < ssim(a, b)[2] < ssim(a, b)[0] < 0.99


def test_ssim_of_plain_pictures_worked_by_hand() -> None:
    a, b = torch.full((1, 1, 11, 11), 100.0), torch.full((1, 1, 11, 11), 120.0)
    c1 = 6.5025  # (0.01 · 255)²
    assert ssim(a, b).item() == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))
    assert ssim(a, a).item() == pytest.approx(1)


def test_values_are_of_single_pictures() -> None:
    a, b = pictures()
    for metric in (psnr, ssim):
        assert torch.allclose(metric(a, b), torch.cat([metric(a[i : i + 1], b[i : i + 1]) for i in range(3)]))
        assert metric(a, b).shape == (3,) and metric(a, b).dtype == torch.float64


def test_of_luma_grey_noise_counts_less() -> None:
    a = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    assert psnr_y(a, a + 10, 2).item() == pytest.approx(psnr(a, a + 10).item() + 20 * math.log10(255 / 219))
    a, b = pictures()
    assert torch.equal(ssim_y(a, b, 3), ssim(luma(a), luma(b), 3))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_pictures_that_cannot_be_compared_are_refused(metric: Callable[..., Tensor]) -> None:
    a, _ = pictures()
    for other in (a[:1], a[:, :1], a[:, :, 1:], a[0]):
        with pytest.raises(ValueError, match="of one shape"):
            metric(a, other)
    for border in (12, -1):
        with pytest.raises(ValueError, match="leaves nothing"):
            metric(a, a, border)
    with pytest.raises(ValueError, match="windows of 11 px"):
        ssim(a, a, border=7)


def test_bicubic_on_set5_has_the_papers_psnr(data_path: Callable[..., Path]) -> None:
    """28.42 dB in papers, whose luma is rounded, and 0.810."""

    def tensor(picture: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]

    values = []
    for path in sorted(data_path("set5", "HR").iterdir()):
        hr = Image.open(path).convert("RGB")
        lr = Image.open(data_path("set5", "LR_bicubic_x4", path.name)).convert("RGB")
        a, b = tensor(hr), tensor(lr.resize(hr.size, Image.Resampling.BICUBIC))
        values.append((psnr_y(a, b, 4).item(), ssim_y(a, b, 4).item()))
    mean_psnr, mean_ssim = np.mean(values, axis=0)
    assert len(values) == 5
    assert mean_psnr == pytest.approx(28.43, abs=0.05)
    assert mean_ssim == pytest.approx(0.810, abs=0.005)
