"""Growing: every picture size on the way, and nothing that jumps where a level begins."""

import pytest
import torch
from torch import nn

from models.blocks import doubled, halved
from models.families.progressive import Discriminator, Generator, ProgressiveHParams, Stage
from models.latents import latents

HP = ProgressiveHParams(z_dim=8, resolution=32, channels=3, widths=(16, 8, 8))


def awake(network: nn.Module) -> nn.Module:
    """What starts at zero would hide what it is connected to."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    return awake(Generator(HP))


@pytest.fixture(scope="module")
def discriminator() -> nn.Module:
    return awake(Discriminator(HP))


@pytest.mark.parametrize("resolution", [16, 32])
def test_a_level_fades_in_from_the_doubled_picture_below(generator: nn.Module, resolution: int) -> None:
    z = latents(range(3), 8)
    below, new = doubled(generator(z, Stage(resolution // 2))), generator(z, Stage(resolution))
    assert (new - below).abs().mean() > 0.05
    assert torch.equal(generator(z, Stage(resolution, 0.0)), below)
    assert torch.equal(generator(z, Stage(resolution, 1.0)), new)
    torch.testing.assert_close(generator(z, Stage(resolution, 0.25)), 0.75 * below + 0.25 * new)


def test_the_smallest_level_is_never_faded(generator: nn.Module) -> None:
    z = latents(range(3), 8)
    assert torch.equal(generator(z, Stage(8, 0.5)), generator(z, Stage(8)))


@pytest.mark.parametrize("resolution", [16, 32])
def test_a_discriminator_sees_the_picture_below_until_a_level_fades_in(discriminator: nn.Module, resolution: int) -> None:
    x = torch.rand(4, 3, resolution, resolution, generator=torch.Generator().manual_seed(1)) * 2 - 1
    below, new = discriminator(halved(x)), discriminator(x)
    torch.testing.assert_close(discriminator(x, Stage(resolution, 0.0)), below)
    torch.testing.assert_close(discriminator(x, Stage(resolution, 1.0)), new)
    assert (new - below).abs().min() > 1e-3


def test_a_small_picture_is_the_large_one_made_small(generator: nn.Module) -> None:
    """Exactly so before the tanh, which each size goes through by itself."""
    z = latents(range(3), 8).double()
    wide = generator.double()
    large = torch.atanh(wide(z))
    for resolution in (16, 8):
        large = halved(large)
        torch.testing.assert_close(torch.atanh(wide(z, Stage(resolution))), large)
    generator.float()


def test_a_smaller_generator_has_some_of_the_weights_and_draws_the_same(generator: nn.Module) -> None:
    z = latents(range(3), 8)
    for resolution in HP.resolutions:
        smaller = Generator(HP.at(resolution))
        weights = generator.state_dict()
        smaller.load_state_dict({name: weights[name] for name in smaller.state_dict()})
        assert torch.equal(smaller(z), generator(z, Stage(resolution)))
    assert sum(p.numel() for p in Generator(HP.at(8)).parameters()) < sum(p.numel() for p in generator.parameters()) / 1.5


def test_hyper_parameters_say_which_sizes_there_are() -> None:
    assert ProgressiveHParams().resolutions == (8, 16, 32, 64)
    assert ProgressiveHParams(smallest=14, resolution=28, widths=(8, 8)).resolutions == (14, 28)
    with pytest.raises(ValueError, match=r"8 px doubled 2 times .* is not 64 px"):
        ProgressiveHParams(widths=(8, 8, 8))
    with pytest.raises(ValueError):
        ProgressiveHParams().at(12)
