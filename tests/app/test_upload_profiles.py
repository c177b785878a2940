"""Colour profiles of uploaded pictures."""

import os
import zlib

import numpy as np
import pytest
from picture_files import (
    chain,
    grey_profile,
    png_chunk,
    png_file,
    profile,
    profile_tags,
    saved,
    srgb_profile,
    swapped_profile,
    table_profile,
    wide_profile,
)
from picture_kinds import PROFILED, colours, palette
from PIL import Image
from upload_kit import read, within


@pytest.mark.parametrize("fmt", PROFILED)
def test_the_profile_of_srgb_changes_nothing(fmt: str) -> None:
    picture = Image.fromarray(colours())
    plain, profiled = PROFILED[fmt](picture, b""), PROFILED[fmt](picture, srgb_profile())
    assert len(profiled) > len(plain) + 100
    assert (read(profiled).pixels == read(plain).pixels).all()


@pytest.mark.parametrize("fmt", PROFILED)
def test_another_profile_is_converted_to_srgb(fmt: str) -> None:
    picture = Image.fromarray(colours())
    before = read(PROFILED[fmt](picture, b"")).pixels.astype(int)
    after = read(PROFILED[fmt](picture, swapped_profile())).pixels.astype(int)
    assert np.abs(after - before[..., [1, 0, 2]]).max() <= 2


def test_wide_colours_get_the_values_that_srgb_has_for_them() -> None:
    """Greys stay; muted colours become stronger numbers; what is out of reach is clipped."""
    picture = np.array([[[128, 128, 128], [200, 100, 100], [100, 200, 100], [0, 255, 0]]], np.uint8)
    moved = read(PROFILED["PNG"](Image.fromarray(picture), wide_profile())).pixels[0].astype(int)
    assert np.abs(moved[0] - 128).max() <= 1
    # as the matrices of both say: https://www.w3.org/TR/css-color-4/#color-conversion-code
    assert np.abs(moved[1] - [214, 93, 96]).max() <= 2
    assert np.abs(moved[2] - [45, 203, 86]).max() <= 2
    assert moved[3].tolist() == [0, 255, 0]


def test_alpha_palette_and_16_bits_go_through_a_profile_too() -> None:
    icc = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(swapped_profile()))
    samples = np.random.default_rng(0).integers(0, 256, (9, 9, 4), dtype=np.uint8)
    for depth in (8, 16):
        stored = samples if depth == 8 else samples.astype(np.uint16) * 257
        upload = read(png_file(stored, depth, before=icc))
        assert np.abs(upload.pixels - samples[..., [1, 0, 2]].astype(int)).max() <= 2
        assert upload.alpha is not None and (upload.alpha == samples[..., 3]).all()
    picture, indices, table = palette(np.random.default_rng(0), 9, 9, 256)
    upload = read(saved(picture, "PNG", icc_profile=swapped_profile()))
    assert np.abs(upload.pixels - table[indices][..., [1, 0, 2]].astype(int)).max() <= 2


def test_a_grey_profile_moves_greys_to_greys() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    linear = read(saved(Image.fromarray(ramp), "PNG", icc_profile=grey_profile(1.0)))
    assert linear.grey and (linear.pixels == linear.pixels[..., :1]).all()
    assert abs(int(linear.pixels[8, 0, 0]) - 188) <= 1  # half the light
    assert (read(saved(Image.fromarray(ramp), "PNG", icc_profile=wide_profile())).pixels[..., 0] == ramp).all()


def test_cmyk_goes_through_its_profile_if_it_has_one() -> None:
    inks = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8), "CMYK")
    plain = read(saved(inks, "TIFF")).pixels
    red = np.tile(np.array([140, 200, 190], np.uint8), 3**4).tobytes()  # whatever the ink, this colour of Lab
    printed = read(saved(inks, "TIFF", icc_profile=table_profile(3, red))).pixels
    assert plain.std() > 20 and printed.std(axis=(0, 1)).max() < 1
    assert printed[0, 0, 0] > 200 and printed[0, 0, 1] < 100


USELESS = {
    "nothing": b"",
    "zeros": bytes(200),
    "noise": os.urandom(3000),
    "a header alone": srgb_profile()[:128],
    "half": srgb_profile()[:300],
    "no tags": srgb_profile()[:128] + bytes(4),
    "many tags": srgb_profile()[:128] + b"\xff" * 4 + srgb_profile()[132:],
    "tags elsewhere": srgb_profile()[:136] + b"\x7f" * 200,
    "of another space": profile(profile_tags(srgb_profile()), b"CMYK"),
    "a link": profile(profile_tags(srgb_profile()), of=b"link"),
    "a table without its numbers": table_profile(80, b"", b"RGB ", 4),
    "a table for other channels": table_profile(2, bytes(3 * 16), b"RGB ", 4),
    "a large one": swapped_profile() + bytes(5 * 2**20),
}


@pytest.mark.parametrize("name", USELESS)
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP"])
def test_a_profile_of_no_use_is_ignored(fmt: str, name: str) -> None:
    picture = Image.fromarray(colours())
    data = PROFILED[fmt](picture, USELESS[name])
    with within(0.5):
        assert (read(data).pixels == colours()).all()


def test_a_profile_with_a_long_chain_takes_no_longer_than_without() -> None:
    """20 000 matrices would take the library half a minute."""
    tags = profile_tags(swapped_profile())
    endless = profile({**tags, **{b"D2B" + bytes([48 + i]): chain(20_000) for i in range(4)}})
    picture = Image.fromarray(colours())
    with within(2):
        assert (
            read(PROFILED["PNG"](picture, endless)).pixels == read(PROFILED["PNG"](picture, swapped_profile())).pixels
        ).all()
