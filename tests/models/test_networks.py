"""What single families promise beyond the common contract."""

import pytest
import torch
from torch import nn

from models.families import conditional, dcgan, mlp
from models.latents import latents, one_hot


def linear_sizes(network: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_the_mlp_is_that_of_the_introductory_text() -> None:
    hp = mlp.MlpHParams()
    assert linear_sizes(mlp.Generator(hp)) == [(100, 256), (256, 512), (512, 784)]
    assert linear_sizes(mlp.Discriminator(hp)) == [(784, 256), (256, 128), (128, 1)]


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_dcgan_draws_any_power_of_two(resolution: int, channels: int) -> None:
    hp = dcgan.DcganHParams(resolution=resolution, channels=channels, width=8, max_width=32, z_dim=4)
    pictures = dcgan.Generator(hp)(torch.randn(2, 4))
    assert pictures.shape == (2, channels, resolution, resolution)
    assert dcgan.Discriminator(hp)(pictures).shape == (2,)


@pytest.mark.parametrize("resolution", [12, 63, 100])
def test_dcgan_names_the_sizes_it_can_draw(resolution: int) -> None:
    with pytest.raises(ValueError, match="no power of two"):
        dcgan.DcganHParams(resolution=resolution)


@pytest.mark.parametrize(
    ("resolution", "widths"), [(28, (16, 8, 8)), (32, (16, 8, 8, 8)), (64, (16, 8, 8, 8)), (96, (16, 8, 8, 8, 8))]
)
def test_conditional_draws_28_to_64_px_and_more(resolution: int, widths: tuple[int, ...]) -> None:
    hp = conditional.ConditionalHParams(resolution=resolution, widths=widths, classes=4, channels=3, feature_dim=16)
    y = one_hot([1, 3], 4)
    pictures = conditional.Generator(hp)(torch.randn(2, 64), y)
    assert pictures.shape == (2, 3, resolution, resolution)
    assert conditional.Discriminator(hp)(pictures, y).shape == (2,)


def test_conditional_says_how_many_widths_a_resolution_needs() -> None:
    with pytest.raises(ValueError, match="change the number of `widths`"):
        conditional.ConditionalHParams(resolution=28, widths=(8, 8, 8, 8), classes=2)


def test_a_discriminator_may_be_narrower_than_its_generator() -> None:
    def parameters(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    same, narrow = (conditional.ConditionalHParams(classes=4, d_widths=d) for d in (None, (64, 32, 16)))
    assert parameters(conditional.Generator(narrow)) == parameters(conditional.Generator(same))
    assert parameters(conditional.Discriminator(narrow)) < 0.7 * parameters(conditional.Discriminator(same))
    assert conditional.Discriminator(narrow)(torch.zeros(2, 1, 28, 28), one_hot([1, 3], 4)).shape == (2,)
    with pytest.raises(ValueError, match="must have 3 entries"):
        conditional.ConditionalHParams(classes=4, d_widths=(64, 32))


def test_blended_labels_lie_between_their_classes() -> None:
    torch.manual_seed(0)
    hp = conditional.ConditionalHParams(resolution=8, widths=(16, 8), classes=2, channels=1)
    generator = conditional.Generator(hp).eval()
    z = latents([5], 64)
    ends = [generator(z, one_hot([label], 2)) for label in (0, 1)]
    blends = [generator(z, torch.tensor([[1 - t, t]])) for t in (0.0, 0.01, 0.5, 1.0)]
    assert torch.equal(blends[0], ends[0]) and torch.equal(blends[3], ends[1])
    assert (blends[1] - ends[0]).abs().max() < (ends[1] - ends[0]).abs().max() / 10
    assert not torch.allclose(blends[2], ends[0]) and not torch.allclose(blends[2], ends[1])


def test_up_sampling_leaves_no_checkerboard() -> None:
    """Kernels are multiples of their stride, so that every output pixel is reached by as many taps."""
    networks = [
        conditional.Generator(conditional.ConditionalHParams(classes=2)),
        dcgan.Generator(dcgan.DcganHParams()),
    ]
    strided = [m for network in networks for m in network.modules() if isinstance(m, nn.ConvTranspose2d) and m.stride != (1, 1)]
    assert strided and all(k % s == 0 for m in strided for k, s in zip(m.kernel_size, m.stride, strict=True))
