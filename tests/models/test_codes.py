"""Numbers of a latent that mean something."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from zoo_factory import CODES, TINY

from models.codes import UnknownCodeError, category, coordinate, uniform, with_codes
from models.families.infogan import FAMILY, InfoGanHParams, degrees_of
from models.latents import latents

GARMENT, SLANT, _ = CODES


def test_drawn_latents_have_every_category_equally_often() -> None:
    z = latents(range(30_000), 1)[:, 0]
    shares = category(z, 3).mean(dim=0)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.01, rtol=0)


@given(index=st.integers(0, 99), count=st.integers(1, 100))
def test_a_category_that_is_set_is_the_one_that_is_read(index: int, count: int) -> None:
    code = GARMENT.model_copy(update={"values": tuple(f"v{i}" for i in range(count))})
    if index < count:
        for wanted in (index, f"v{index}", f" V{index} "):
            read = category(torch.tensor([coordinate(code, wanted)], dtype=torch.float32), count)
            assert read.argmax().item() == index


@given(st.floats(-1, 1, allow_subnormal=False))
def test_a_degree_that_is_set_is_the_one_that_is_read(wanted: float) -> None:
    read = degrees_of(torch.tensor([coordinate(SLANT, wanted)], dtype=torch.float32)).item()
    assert read == pytest.approx(wanted, abs=2e-3) and abs(read) < 1


def test_a_name_wins_over_an_index() -> None:
    swapped = GARMENT.model_copy(update={"values": ("1", "0")})
    assert coordinate(swapped, 0) == coordinate(swapped, "0") > 0 > coordinate(swapped, 1)


def test_only_what_is_set_is_changed() -> None:
    z = latents(range(4), 8)
    made = with_codes(z, CODES, {"slant": 0.0})
    assert made[:, 6].tolist() == [0.0] * 4
    assert torch.equal(made[:, [0, 1, 2, 3, 4, 5, 7]], z[:, [0, 1, 2, 3, 4, 5, 7]])
    assert torch.equal(with_codes(z, CODES, {}), z)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"garment": "hat"}, "'garment' is one of T-shirt, Trouser, Ankle boot"),
        ({"garment": 3}, "'garment' is one of"),
        ({"garment": 0.5}, "'garment' is one of"),
        ({"slant": "much"}, "'slant' is a number from -1 to 1"),
        ({"height": 0.5}, "no code 'height'; its codes are garment, slant, width"),
    ],
)
def test_what_is_no_code_is_told(wanted: dict[str, int | float | str], says: str) -> None:
    with pytest.raises(UnknownCodeError, match=says):
        with_codes(latents([0], 8), CODES, wanted)


def test_models_without_codes_say_so() -> None:
    with pytest.raises(UnknownCodeError, match="no code 'slant'; it has none"):
        with_codes(latents([0], 8), (), {"slant": 0.5})


def test_the_generator_sees_nothing_of_a_category_but_which_it_is() -> None:
    hparams = InfoGanHParams.model_validate(TINY["infogan"])
    torch.manual_seed(0)
    generator = FAMILY.generator(hparams).eval()
    z = latents([1], 8).repeat(3, 1)
    z[:, 5] = torch.tensor([coordinate(GARMENT, 0), coordinate(GARMENT, 0) - 1.0, coordinate(GARMENT, 2)])
    one, same, other = generator(z)
    torch.testing.assert_close(one, same, atol=1e-6, rtol=0)
    assert (one - other).abs().max() > 1e-3
    assert uniform(z[:2, 5]).lt(1 / 3).all()


def test_noise_must_be_left() -> None:
    with pytest.raises(ValueError, match="z_dim 3 leaves nothing for noise beside 3 codes"):
        InfoGanHParams.model_validate(TINY["infogan"] | {"z_dim": 3})
