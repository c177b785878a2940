"""The contract that every family keeps, on real classes at tiny sizes."""

import pytest
import torch
from torch import Tensor
from zoo_factory import TINY

from models.errors import UnknownFamilyError
from models.families import FAMILIES, family_named
from models.family import ClassifyingHParams, Family, HParams, LatentHParams, TranslatorHParams
from models.latents import latents, one_hot
from training.recipes import RECIPES

pytestmark = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


def hparams(family: Family) -> HParams:
    return family.hparams.model_validate(TINY[family.name])


def inputs(family: Family, batch: int) -> list[Tensor]:
    """What its generator takes: latents and maybe class weights, or pictures."""
    hp = hparams(family)
    if isinstance(hp, TranslatorHParams):
        side = hp.resolution // hp.scale
        pictures = torch.rand(batch, hp.given_channels, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
        return [pictures, latents(range(batch), hp.noise_dim)] if hp.noise_dim else [pictures]
    assert isinstance(hp, LatentHParams)
    labels = [one_hot([i % hp.classes for i in range(batch)], hp.classes)] if family.conditional else []
    return [latents(range(batch), hp.z_dim), *labels]


def seen_beside(family: Family, batch: list[Tensor]) -> list[Tensor]:
    """What its discriminator sees beside a picture: class weights, if anything."""
    if family.from_latents:
        return batch[1:]
    return batch[:1] if family.name in ("pix2pix", "inpaint") else []


def perturbed(network: torch.nn.Module) -> torch.nn.Module:
    """Residual branches start at zero; a test of the whole network needs them awake."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def networks(family: Family) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    hp = hparams(family)
    return perturbed(family.generator(hp)), perturbed(family.discriminator(hp))


def test_pictures_have_the_promised_shape_and_range(family: Family) -> None:
    hp = hparams(family)
    pictures = networks(family)[0](*inputs(family, 64))
    assert pictures.shape == (64, hp.channels, hp.resolution, hp.resolution)
    assert pictures.dtype == torch.float32
    assert pictures.abs().max() <= 1 or not family.from_latents  # what answers a picture may overshoot as that one's edges do
    assert pictures.min() < -0.5 < 0.5 < pictures.max()  # the whole range of the data, not 0 … 1


def test_neighbours_in_a_batch_do_not_change_a_picture(family: Family) -> None:
    generator = networks(family)[0]
    batch = inputs(family, 7)
    with torch.inference_mode():
        together = generator(*batch)
        for i in range(7):
            torch.testing.assert_close(generator(*(x[i : i + 1] for x in batch)), together[i : i + 1], atol=1e-5, rtol=0)


def test_real_and_fake_may_share_a_discriminators_batch_or_not(family: Family) -> None:
    generator, discriminator = networks(family)
    batch = inputs(family, 6)
    pictures, beside = generator(*batch), seen_beside(family, batch)
    together = discriminator(pictures, *beside)
    apart = torch.cat([discriminator(pictures[i : i + 2], *(x[i : i + 2] for x in beside)) for i in (0, 2, 4)])
    assert together.shape == (6,) or (together.dim() == 3 and len(together) == 6)  # one logit a picture, or one a patch
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_gradients_reach_every_parameter(family: Family) -> None:
    generator, discriminator = networks(family)
    batch = inputs(family, 4)
    discriminator(generator(*batch), *seen_beside(family, batch)).sum().backward()
    for network in (generator, discriminator):
        assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_no_family_keeps_running_statistics(family: Family) -> None:
    """So that train and eval mode are the same function, and an average of weights is the whole average."""
    assert [name for network in networks(family) for name, _ in network.named_buffers()] == []


def test_weights_survive_a_round_trip_bit_for_bit(family: Family) -> None:
    generator = networks(family)[0]
    again = family.generator(hparams(family)).eval()
    again.load_state_dict(generator.state_dict())
    batch = inputs(family, 3)
    assert torch.equal(generator(*batch), again(*batch))


def test_who_ships_a_classifier_names_its_classes(family: Family) -> None:
    """The service tells of each logit which class it is of."""
    assert ("classifier" in family.extras) == issubclass(family.hparams, ClassifyingHParams)
    if "classifier" in family.extras:
        hp = hparams(family)
        assert isinstance(hp, ClassifyingHParams)
        logits = family.extras["classifier"](hp)(torch.zeros(2, hp.channels, hp.resolution, hp.resolution))
        assert logits.shape == (2, len(hp.label_names))


def test_misspelt_hyper_parameters_are_refused(family: Family) -> None:
    with pytest.raises(ValueError, match="zdim"):
        family.hparams.model_validate({**TINY[family.name], "zdim": 3})


def test_a_family_is_registered_under_its_name_and_has_a_recipe(family: Family) -> None:
    assert family_named(family.name) is family
    assert family.name in RECIPES
    with pytest.raises(UnknownFamilyError, match=family.name):
        family_named("no-such-family")
