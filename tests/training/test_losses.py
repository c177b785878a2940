"""Losses and penalties against numbers worked by hand, and the signs of their gradients."""

import math

import pytest
import torch
from torch import nn

from models.families import family_named
from training.config import LossConfig
from training.losses import LOSSES, adversarial_loss, between, gradient_penalty, normalise_spectrally, slope_penalty

REAL, FAKE = torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


BY_HAND = {
    "minimax": (
        (softplus(-1) + softplus(1)) / 2 + (softplus(0) + softplus(2)) / 2,
        -(softplus(0) + softplus(2)) / 2,
    ),
    "non-saturating": (
        (softplus(-1) + softplus(1)) / 2 + (softplus(0) + softplus(2)) / 2,
        (softplus(0) + softplus(-2)) / 2,
    ),
    "hinge": ((0 + 2) / 2 + (1 + 3) / 2, -1.0),
    "least-squares": (((0 + 4) / 2 + (0 + 4) / 2) / 2, ((1 + 1) / 2) / 2),
    "wasserstein": (1.0 - 0.0, -1.0),
    "relativistic": ((softplus(-1) + softplus(3)) / 2, (softplus(1) + softplus(-3)) / 2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_worked_by_hand(name: str) -> None:
    loss_d, loss_g = BY_HAND[name]
    assert LOSSES[name].discriminator(REAL, FAKE).item() == pytest.approx(loss_d, rel=1e-6)
    assert LOSSES[name].generator(REAL, FAKE).item() == pytest.approx(loss_g, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_push_the_right_way(name: str) -> None:
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    LOSSES[name].discriminator(real, fake).backward()
    assert (real.grad <= 0).all() and (fake.grad >= 0).all()  # descent raises D(x) and lowers D(G(z))
    assert real.grad.abs().sum() + fake.grad.abs().sum() > 0
    fake.grad = None
    LOSSES[name].generator(real.detach(), fake).backward()
    assert (fake.grad < 0).all()  # descent raises D(G(z))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_stay_finite_where_probabilities_saturate(name: str) -> None:
    real, fake = torch.tensor([1e4, -1e4]), torch.tensor([-1e4, 1e4])
    assert torch.isfinite(LOSSES[name].discriminator(real, fake))
    assert torch.isfinite(LOSSES[name].generator(real, fake))


def test_gradient_penalty_of_a_linear_critic_is_its_squared_norm() -> None:
    weight = torch.tensor([3.0, 4.0])
    images = torch.randn(5, 1, 1, 2, requires_grad=True)
    assert gradient_penalty((images * weight).sum(dim=(1, 2, 3)), images).item() == pytest.approx(25.0)


def test_gradient_penalty_sums_over_pixels_and_averages_over_the_batch() -> None:
    images = torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2).clone().requires_grad_()
    logits = images.square().sum(dim=(1, 2, 3)) / 2  # gradient is the image: 4 pixels of 1, 4 pixels of 2
    assert gradient_penalty(logits, images).item() == pytest.approx((4 * 1 + 4 * 4) / 2)


def test_gradient_penalty_can_be_minimised() -> None:
    scale = nn.Parameter(torch.tensor(2.0))
    images = torch.ones(1, 1, 1, 1, requires_grad=True)
    gradient_penalty((scale * images).sum(dim=(1, 2, 3)), images).backward()
    assert scale.grad.item() == pytest.approx(4.0)  # d(scale²)/d(scale)


def test_spectral_norm_bounds_a_layer_and_keeps_its_state() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8, bias=False))
    with torch.no_grad():
        network[0].weight.mul_(50)
    normalise_spectrally(network)
    for _ in range(50):
        network(torch.randn(1, 8))
    assert torch.linalg.matrix_norm(network[0].weight, 2).item() == pytest.approx(1.0, rel=1e-2)
    assert any(key.endswith("_u") for key in network.state_dict())  # the power iteration is saved with the network


def test_spectral_norm_takes_layers_that_start_at_zero() -> None:
    family = family_named("conditional")
    discriminator = family.discriminator(family.hparams(classes=2, resolution=8, widths=(16, 8)))
    normalise_spectrally(discriminator)
    logits = discriminator(torch.randn(3, 1, 8, 8), torch.eye(2)[[0, 1, 0]])
    assert torch.isfinite(logits).all()


def test_smoothing_moves_the_label_of_real_pictures_only() -> None:
    smoothed = adversarial_loss(LossConfig(adversarial="non-saturating", label_smoothing=0.1))
    by_hand = (0.9 * softplus(-1) + 0.1 * softplus(1) + 0.9 * softplus(1) + 0.1 * softplus(-1)) / 2
    assert smoothed.discriminator(REAL, FAKE).item() == pytest.approx(by_hand + (softplus(0) + softplus(2)) / 2, rel=1e-6)
    real, fake = torch.full((2,), math.log(9)), torch.zeros(2, requires_grad=True)  # D(x) = 0.9, the smoothed label
    real.requires_grad_()
    smoothed.discriminator(real, fake).backward()
    assert real.grad.abs().max() < 1e-6  # it is content there,
    assert torch.allclose(fake.grad, torch.full((2,), 0.25))  # and with generated ones as far from content as without smoothing
    assert smoothed.generator is LOSSES["non-saturating"].generator


def test_smoothed_least_squares_aims_at_less_than_one() -> None:
    smoothed = adversarial_loss(LossConfig(adversarial="least-squares", label_smoothing=0.25))
    by_hand = ((0.25**2 + 1.75**2) / 2 + (0 + 4) / 2) / 2
    assert smoothed.discriminator(REAL, FAKE).item() == pytest.approx(by_hand)


def test_slope_penalty_is_zero_at_slope_one_and_of_packs_taken_together() -> None:
    images = torch.randn(4, 2, requires_grad=True)
    weight = torch.tensor([3.0, 4.0])
    assert slope_penalty(images @ weight, images).item() == pytest.approx((5 - 1) ** 2, rel=1e-5)
    assert slope_penalty(images @ (weight / 5), images).item() == pytest.approx(0, abs=1e-10)
    packed = (images.reshape(2, 4) * torch.tensor([3.0, 4.0, 0.0, 12.0])).sum(dim=1)  # slope 13 over both pictures
    assert slope_penalty(packed, images).item() == pytest.approx(144, rel=1e-5)


def test_interpolates_lie_between_and_lead_back_to_neither() -> None:
    real, fake = torch.zeros(2, 1, 1, 1, requires_grad=True), torch.ones(2, 1, 1, 1, requires_grad=True)
    middle = between(real, fake, torch.tensor([0.25, 1.0]))
    assert middle.flatten().tolist() == [0.25, 1.0]
    assert middle.is_leaf and middle.requires_grad
