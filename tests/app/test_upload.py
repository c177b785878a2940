"""Uploaded pictures: every kind that is read comes back as it was made."""

import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from picture_files import (
    exif,
    png_chunk,
    png_file,
    saved,
)
from picture_kinds import KINDS, colours, image, noise, smooth
from PIL import Image, ImageFile, ImageOps, PngImagePlugin
from upload_kit import read

from app.codecs.upload import (
    BadPictureError,
    PictureTooLargeError,
    composited,
    in_family_of,
)

DRAWS = 8  # sizes and pixels of each kind


def test_there_are_more_than_500_pictures() -> None:
    assert len(KINDS) * DRAWS > 500


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_comes_back_as_it_was_made(name: str) -> None:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for draw in range(DRAWS):
        h, w = [(1, 1), (1, 70), (69, 1)][draw] if draw < 3 else (int(s) for s in rng.integers(1, 71, 2))
        made = KINDS[name](rng, h, w)
        upload = read(made.data)
        assert upload.format == name.partition(" ")[0].strip(",").lower()
        assert (upload.grey, upload.had_alpha) == (made.grey, made.alpha is not None), (h, w)
        assert upload.pixels.shape == (h, w, 3) and upload.pixels.dtype == np.uint8 and upload.pixels.flags.carray
        assert np.abs(upload.pixels - made.pixels.astype(float)).mean() <= made.off, (h, w)
        if made.alpha is None or (made.alpha == 255).all():
            assert upload.alpha is None
        else:
            assert upload.alpha is not None and upload.alpha.shape == (h, w) and upload.alpha.dtype == np.uint8
            assert upload.alpha.flags.carray
            assert (upload.alpha == made.alpha).all(), (h, w)
        answer = in_family_of(upload, upload.pixels, upload.alpha)
        assert answer.shape == (h, w, (1 if made.grey else 3) + (made.alpha is not None))
        assert (answer[..., : 1 if made.grey else 3] == upload.pixels[..., : 1 if made.grey else 3]).all()


def test_16_bits_are_rounded_and_not_clipped() -> None:
    samples = np.array([[[0], [128], [129], [257], [32767], [32768], [65406], [65407], [65535]]], np.uint16)
    expected = [0, 0, 1, 1, 127, 128, 254, 255, 255]
    for data in (
        png_file(samples, 16),
        saved(image(samples, "I;16"), "TIFF"),
        saved(image(samples.astype(">u2"), "I;16B"), "TIFF"),
    ):
        assert read(data).pixels[0, :, 0].tolist() == expected
    assert read(png_file(np.repeat(samples, 3, axis=2), 16)).pixels[0, :, 2].tolist() == expected


@pytest.mark.parametrize("values", [[-1.0, 2.5], [0.0, 1.0]])
def test_floating_point_pixels_are_refused_as_their_range_is_not_known(values: list[float]) -> None:
    with pytest.raises(BadPictureError, match="floating-point"):
        read(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))


@pytest.mark.parametrize("values", [[-1, 5], [0, 65536]])
def test_whole_numbers_beyond_16_bits_are_refused(values: list[int]) -> None:
    with pytest.raises(BadPictureError, match="more than 16 bits"):
        read(saved(Image.fromarray(np.array([values], np.int32)), "TIFF"))


def test_an_alpha_channel_that_is_opaque_is_remembered_and_not_kept() -> None:
    samples = np.full((3, 4, 4), 255, np.uint8)
    upload = read(png_file(samples))
    assert upload.had_alpha and upload.alpha is None
    assert in_family_of(upload, upload.pixels, None).shape == (3, 4, 4)
    assert (in_family_of(upload, upload.pixels, None)[..., 3] == 255).all()


def test_composited_blends_with_the_background_and_rounds() -> None:
    samples = np.random.default_rng(0).integers(0, 256, (40, 41, 4), dtype=np.uint8)
    upload = read(png_file(samples))
    alpha = samples[..., 3:] / 255
    for background in (0, 128, 255):
        expected = samples[..., :3] * alpha + background * (1 - alpha)
        assert np.abs(composited(upload, background) - expected).max() <= 0.5 + 1e-9
    assert (composited(upload)[samples[..., 3] == 0] == 255).all()
    opaque = read(png_file(samples[..., :3]))
    assert (composited(opaque) == opaque.pixels).all()


def test_an_answer_has_the_family_of_the_upload_and_the_size_of_the_answer() -> None:
    rng = np.random.default_rng(0)
    answer, alpha = noise(rng, 20, 30, 3), noise(rng, 20, 30, 1)[..., 0]
    luma = np.asarray(Image.fromarray(answer).convert("L"))
    for channels in (1, 2, 3, 4):
        upload = read(png_file(noise(rng, 5, 6, channels)))
        out = in_family_of(upload, answer, alpha)
        assert out.shape == (20, 30, channels) and out.dtype == np.uint8
        assert (out[..., 0] == luma).all() if channels < 3 else (out[..., :3] == answer).all()
        assert channels in (1, 3) or (out[..., -1] == alpha).all()
    with pytest.raises(ValueError, match="does not fit"):
        in_family_of(upload, answer, alpha[1:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_to_pixels_and_alpha(fmt: str, orientation: int) -> None:
    mode = "RGB" if fmt == "JPEG" else "RGBA"
    picture = image(smooth(np.random.default_rng(1), 20, 31, len(mode)), mode)
    options = {"lossless": True, "exact": True} if fmt == "WEBP" else {}
    tags = Image.Exif()
    tags[274] = orientation
    upload = read(saved(picture, fmt, exif=tags, **options))
    flat = read(saved(picture, fmt, **options))
    whole = Image.fromarray(flat.pixels)
    if flat.alpha is not None:
        whole.putalpha(Image.fromarray(flat.alpha))
    whole.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(whole))
    assert expected.shape[:2] == ((31, 20) if orientation > 4 else (20, 31))
    assert (upload.pixels == expected[..., :3]).all()
    assert flat.alpha is None or (upload.alpha is not None and (upload.alpha == expected[..., 3]).all())


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"MM\0\x2a\0\0\0\x08",
        exif(0),
        exif(9),
        exif(65535),
        exif(6)[:-8],
        exif(6)[:4] + b"\xff\xff\xff\x7f" + exif(6)[8:],
        exif(6)[:8] + b"\xff\xff" + exif(6)[10:],
        exif(6)[:12] + b"\x05" + exif(6)[13:],
        os.urandom(300),
    ],
)
def test_exif_that_makes_no_sense_is_ignored(block: bytes) -> None:
    samples = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    upload = read(png_file(samples, before=png_chunk(b"eXIf", block)))
    assert (upload.pixels[..., :1] == samples).all()


def test_the_format_is_told_by_the_content() -> None:
    pictures = {fmt.lower(): saved(Image.fromarray(colours()), fmt) for fmt in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")}
    assert {fmt: read(data).format for fmt, data in pictures.items()} == {fmt: fmt for fmt in pictures}


def test_the_limit_counts_pixels_and_includes_itself() -> None:
    data = png_file(np.zeros((30, 20, 1), np.uint8))
    assert read(data, 600).pixels.shape == (30, 20, 3)
    with pytest.raises(PictureTooLargeError, match=r"20x30 px, and at most 599"):
        read(data, 599)


def test_no_limit_is_above_that_of_pillow() -> None:
    data = png_file(np.zeros((1, 1, 1), np.uint8), size=(10_000, 10_000))
    with pytest.raises(PictureTooLargeError) as caught:
        read(data, 10**12)
    assert caught.value.limit == Image.MAX_IMAGE_PIXELS


def test_pillows_own_limits_are_left_alone() -> None:
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK) == (False, 2**20)
    assert PngImagePlugin.MAX_TEXT_MEMORY == 2**26 and Image.MAX_IMAGE_PIXELS == 2**30 // 4 // 3


def test_pictures_are_read_in_many_threads_at_once() -> None:
    rng = np.random.default_rng(8)
    made = [maker(rng, 40, 50) for maker in KINDS.values()] * 2
    alone = [read(m.data).pixels for m in made]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda m: read(m.data).pixels, made))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))
