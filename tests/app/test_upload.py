"""Uploaded pictures: every kind that is read comes back as it was made, and nothing that is sent does harm."""

import contextlib
import functools
import os
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import (
    LONG,
    PNG_START,
    RATIONAL,
    SHORT,
    UNDEFINED,
    bmp_file,
    chain,
    exif,
    gif_file,
    grey_profile,
    png_chunk,
    png_file,
    png_rows,
    profile,
    profile_tags,
    saved,
    srgb_profile,
    swapped_profile,
    table_profile,
    tiff_file,
    tiff_tags,
    webp_chunk,
    webp_file,
    wide_profile,
)
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from app.codecs.decoding import decode
from app.codecs.sieves import DamagedError, png
from app.codecs.upload import (
    BadPictureError,
    PictureError,
    PictureTooLargeError,
    UnsupportedPictureError,
    Upload,
    composited,
    in_family_of,
    read_picture,
)

Pixels = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2**16
DRAWS = 8  # sizes and pixels of each kind
DAMAGES = 600  # of each format


@dataclass(frozen=True)
class Made:
    """A file and what is in it. `off`: by how much the average sample may differ."""

    data: bytes
    pixels: NDArray[np.integer]
    alpha: NDArray[np.integer] | None = None
    grey: bool = False
    off: float = 0


Maker = Callable[[np.random.Generator, int, int], Made]
KINDS: dict[str, Maker] = {}


def kind(name: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        KINDS[name] = maker
        return maker

    return register


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Generously, as other work may keep this core busy: what it is for takes a hundred times as long."""
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


@contextlib.contextmanager
def peak_below(count: int) -> Iterator[None]:
    """Of what Python and NumPy hold; it takes a while."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < count
    finally:
        tracemalloc.stop()


def read(data: bytes, max_pixels: int = LIMIT) -> Upload:
    return read_picture(data, max_pixels=max_pixels)


def noise(rng: np.random.Generator, h: int, w: int, channels: int, bits: int = 8) -> NDArray[np.integer]:
    samples = rng.integers(0, 2**bits, (h, w, channels), dtype=np.uint16 if bits > 8 else np.uint8)
    samples[rng.random((h, w)) < 0.2] = rng.choice([0, 2**bits - 1, 2**bits // 2])  # so that ends and middle occur
    return samples


def smooth(rng: np.random.Generator, h: int, w: int, channels: int) -> Pixels:
    """What lossy codecs keep."""
    slopes = rng.uniform(-1, 1, (2, channels))
    return (128 + np.multiply.outer(np.arange(h), slopes[0])[:, None] + np.multiply.outer(np.arange(w), slopes[1])).astype(
        np.uint8
    )


def rounded(samples: NDArray[np.integer]) -> NDArray[np.integer]:
    return (samples.astype(np.int64) + 128) // 257


def image(samples: NDArray[np.integer], mode: str) -> Image.Image:
    return Image.frombytes(mode, samples.shape[1::-1], np.ascontiguousarray(samples).tobytes())


def palette(rng: np.random.Generator, h: int, w: int, colours: int) -> tuple[Image.Image, Pixels, Pixels]:
    """An image with a palette, its indices and its palette."""
    indices = rng.integers(0, colours, (h, w), dtype=np.uint8)
    indices[0, 0] = 7  # which some are transparent at: Pillow leaves out what no pixel uses
    table = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    picture = image(indices[..., None], "P")
    picture.putpalette(table.tobytes())
    return picture, indices, table


def pillows(fmt: str, mode: str, **options: object) -> Maker:
    """As Pillow writes it, losslessly."""

    def make(rng: np.random.Generator, h: int, w: int) -> Made:
        channels = len(Image.new(mode, (1, 1)).getbands())
        samples = noise(rng, h, w, channels)
        if mode == "1":
            samples = samples // 128 * 255
        picture = image(samples, "L" if mode == "1" else mode).convert(mode)
        has_alpha = mode.endswith("A")
        colours, alpha = (samples[..., :-1], samples[..., -1]) if has_alpha else (samples, None)
        return Made(saved(picture, fmt, **options), colours, alpha, colours.shape[2] == 1)

    return make


def pillows_palette(fmt: str, transparency: str = "", **options: object) -> Maker:
    def make(rng: np.random.Generator, h: int, w: int) -> Made:
        picture, indices, table = palette(rng, h, w, 256)
        opacity = np.full(256, 255)
        if transparency == "one":
            opacity[7] = 0
            picture.info["transparency"] = 7
        elif transparency == "each":
            opacity = rng.integers(0, 256, 256)
            picture.info["transparency"] = opacity.astype(np.uint8).tobytes()
        return Made(saved(picture, fmt, **options), table[indices], opacity[indices] if transparency else None)

    return make


def grey_palette(fmt: str) -> Maker:
    def make(rng: np.random.Generator, h: int, w: int) -> Made:
        picture, indices, table = palette(rng, h, w, 256)
        greys = np.arange(256) if rng.random() < 0.5 else table[:, 0]  # Pillow takes the former for no palette at all
        picture.putpalette(np.repeat(greys[:, None], 3, axis=1).astype(np.uint8).tobytes())
        picture.info["transparency"] = 7
        return Made(saved(picture, fmt), greys[indices][..., None], np.where(indices == 7, 0, 255), grey=True)

    return make


for fmt, modes in {
    "PNG": ("1", "L", "LA", "RGB", "RGBA"),
    "BMP": ("1", "L", "RGB"),
    "TIFF": ("1", "L", "LA", "RGB", "RGBA"),
}.items():
    for mode in modes:
        KINDS[f"{fmt} {mode}"] = pillows(fmt, mode)
for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
    for mode in ("1", "L", "LA", "RGB", "RGBA"):
        KINDS[f"TIFF {mode} {packing}"] = pillows("TIFF", mode, compression=packing)
    KINDS[f"TIFF P {packing}"] = pillows_palette("TIFF", compression=packing)
for packing in ("group3", "group4"):
    KINDS[f"TIFF 1 {packing}"] = pillows("TIFF", "1", compression=packing)
for fmt in ("PNG", "GIF"):
    for transparency in ("", "one"):
        KINDS[f"{fmt} P {transparency}"] = pillows_palette(fmt, transparency)
KINDS["PNG P grey"] = grey_palette("PNG")
KINDS["GIF P grey"] = grey_palette("GIF")
KINDS["PNG P each"] = pillows_palette("PNG", "each")
KINDS["BMP P"] = pillows_palette("BMP")
KINDS["TIFF P"] = pillows_palette("TIFF")
KINDS["TIFF RGB big"] = pillows("TIFF", "RGB", big_tiff=True)
KINDS["WebP RGB"] = pillows("WEBP", "RGB", lossless=True)
KINDS["WebP RGBA"] = pillows("WEBP", "RGBA", lossless=True, exact=True)
KINDS["GIF L"] = pillows("GIF", "L")
KINDS["GIF 1"] = pillows("GIF", "1")


def our_png(channels: int, depth: int, *, keyed: bool = False, interlaced: bool = False) -> Maker:
    def make(rng: np.random.Generator, h: int, w: int) -> Made:
        samples = noise(rng, h, w, channels, depth)
        colours, alpha = (samples[..., :-1], samples[..., -1:]) if channels in (2, 4) else (samples, None)
        before = b""
        if keyed:
            key = samples[h // 2, w // 2]
            before = png_chunk(b"tRNS", key.astype(">u2").tobytes())
            alpha = np.where((samples == key).all(axis=2, keepdims=True), 2**depth - 1, 0) ^ (2**depth - 1)
        data = png_file(samples, depth, interlaced=interlaced, before=before)
        grow = rounded if depth == 16 else lambda s: s * (255 // (2**depth - 1))
        return Made(data, grow(colours), None if alpha is None else grow(alpha)[..., 0], colours.shape[2] == 1)

    return make


for interlaced in (False, True):
    for depth in (1, 2, 4, 8, 16):
        for keyed in (False, True):
            KINDS[f"PNG grey {depth} {keyed=} {interlaced=}"] = our_png(1, depth, keyed=keyed, interlaced=interlaced)
    for depth in (8, 16):
        for channels in (2, 3, 4):
            KINDS[f"PNG {channels} of {depth} {interlaced=}"] = our_png(channels, depth, interlaced=interlaced)
        KINDS[f"PNG RGB {depth} keyed {interlaced=}"] = our_png(3, depth, keyed=True, interlaced=interlaced)


def our_tiff(channels: int, bits: int, *, order: str, deflated: bool, layout: str = "strips", big: bool = False) -> Maker:
    def make(rng: np.random.Generator, h: int, w: int) -> Made:
        samples = noise(rng, h, w, channels, bits)
        stored = samples.astype(f"{order}u{bits // 8}")
        if layout == "tiles":
            across, down = -(-w // 16), -(-h // 16)
            padded = np.zeros((down * 16, across * 16, channels), stored.dtype)
            padded[:h, :w] = stored
            parts = [padded[y : y + 16, x : x + 16] for y in range(0, h, 16) for x in range(0, w, 16)]
            more = {"t322": 16, "t323": 16}
        elif layout == "planes":
            parts, more = [stored[..., c] for c in range(channels)], {"t284": 2}
        else:
            rows = int(rng.integers(1, h + 1))
            parts, more = [stored[y : y + rows] for y in range(0, h, rows)], {"t278": rows}
        strips = [zlib.compress(p.tobytes()) if deflated else p.tobytes() for p in parts]
        tags = tiff_tags(w, h, [bits] * channels, 2 if channels > 2 else 1, t259=8 if deflated else 1, **more)
        if channels in (2, 4):
            tags[338] = (SHORT, [2])
        data = tiff_file(tags, strips, order=order, big=big, tiled=layout == "tiles")
        known = rounded(samples) if bits == 16 else samples
        colours, alpha = (known[..., :-1], known[..., -1]) if channels in (2, 4) else (known, None)
        return Made(data, colours, alpha, channels < 3)

    return make


for order in "<>":
    for deflated in (False, True):
        name = f"{order=} {deflated=}"
        for channels in (1, 3, 4):
            KINDS[f"TIFF {channels} of 16 {name}"] = our_tiff(channels, 16, order=order, deflated=deflated)
        for layout in ("strips", "tiles", "planes"):
            KINDS[f"TIFF {layout} {name}"] = our_tiff(3, 8, order=order, deflated=deflated, layout=layout)
        KINDS[f"TIFF grey tiles {name}"] = our_tiff(1, 8, order=order, deflated=deflated, layout="tiles")
KINDS["TIFF big 16"] = our_tiff(3, 16, order="<", deflated=False, big=True)
KINDS["TIFF planes of 16"] = our_tiff(3, 8, order="<", deflated=True, layout="planes")


@kind("PNG I;16")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    samples = noise(rng, h, w, 1, 16)
    return Made(saved(image(samples, "I;16"), "PNG"), rounded(samples), grey=True)


@kind("TIFF I;16")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    samples = noise(rng, h, w, 1, 16)
    return Made(saved(image(samples, "I;16"), "TIFF", compression="tiff_lzw"), rounded(samples), grey=True)


@kind("TIFF I")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    samples = noise(rng, h, w, 1, 16)
    return Made(saved(image(samples.astype(np.int32), "I"), "TIFF"), rounded(samples), grey=True)


@kind("TIFF, white is zero")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    bits = int(rng.choice([8, 16]))
    samples = noise(rng, h, w, 1, bits)
    packed = rng.random() < 0.5
    raw = samples.astype(f"<u{bits // 8}").tobytes()
    data = tiff_file(tiff_tags(w, h, [bits], 0, t259=8 if packed else 1), [zlib.compress(raw) if packed else raw])
    inverted = 2**bits - 1 - samples
    return Made(data, rounded(inverted) if bits == 16 else inverted, grey=True)


@kind("TIFF, white is zero, planes")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    """Of one channel it means nothing that channels are apart."""
    samples = noise(rng, h, w, 1)
    return Made(tiff_file(tiff_tags(w, h, [8], 0, t284=2), [samples.tobytes()]), 255 - samples, grey=True)


@kind("TIFF premultiplied")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    channels = int(rng.choice([2, 4]))
    samples = noise(rng, h, w, channels)
    alpha = samples[..., -1:].astype(int)
    alpha[rng.random((h, w)) < 0.3] = 255
    samples[..., -1:] = alpha
    colours = samples[..., :-1].astype(int)
    samples[..., :-1] = colours * alpha // 255
    tags = tiff_tags(w, h, [8] * channels, 2 if channels > 2 else 1) | {338: (SHORT, [1])}
    kept = np.where(alpha == 0, 0, np.minimum(samples[..., :-1].astype(int) * 255 // np.maximum(alpha, 1), 255))
    return Made(tiff_file(tags, [samples.tobytes()]), kept, alpha[..., 0], channels == 2, off=1)


@kind("TIFF CMYK")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    bits = int(rng.choice([8, 16]))
    samples = noise(rng, h, w, 4, bits)
    ink = (rounded(samples) if bits == 16 else samples).astype(float)
    data = tiff_file(tiff_tags(w, h, [bits] * 4, 5), [samples.astype(f"<u{bits // 8}").tobytes()])
    return Made(data, (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255, off=0.5)


@kind("TIFF PA")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    indices, alpha = noise(rng, h, w, 1), noise(rng, h, w, 1)
    table = rng.integers(0, 256, (3, 256), dtype=np.uint16)
    tags = tiff_tags(w, h, [8, 8], 3) | {338: (SHORT, [2]), 320: (SHORT, list((table * 257).ravel()))}
    data = tiff_file(tags, [np.concatenate([indices, alpha], axis=2).tobytes()])
    return Made(data, table.T[indices[..., 0]], alpha[..., 0])


@kind("TIFF YCbCr")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    colours = smooth(rng, h, w, 3)
    return Made(saved(image(colours, "RGB").convert("YCbCr"), "TIFF"), colours, off=2)


@kind("TIFF LAB")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    colours = smooth(rng, h, w, 3)
    return Made(saved(image(colours, "RGB").convert("LAB"), "TIFF"), colours, off=3)


@kind("TIFF JPEG")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    colours = smooth(rng, h, w, 3)
    return Made(saved(image(colours, "RGB"), "TIFF", compression="jpeg", quality=95), colours, off=4)


@kind("BMP from top to bottom")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    colours = noise(rng, h, w, 3)
    rows = np.zeros((h, (w * 3 + 3) // 4 * 4), np.uint8)
    rows[:, : w * 3] = colours[..., ::-1].reshape(h, -1)
    return Made(bmp_file(w, -h, pixels=rows.tobytes()), colours)


@kind("BMP RGBA")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    samples = noise(rng, h, w, 4)
    masks = b"".join(m.to_bytes(4, "little") for m in (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    whole = bmp_file(w, -h, 32, masks + samples[..., [2, 1, 0, 3]].tobytes(), 3, header=56)
    return Made(whole[:10] + (54 + 16).to_bytes(4, "little") + whole[14:], samples[..., :3], samples[..., 3])


@kind("JPEG")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    mode, channels = [("L", 1), ("RGB", 3)][int(rng.integers(2))]
    colours = smooth(rng, h, w, channels)
    options = {"quality": 95, "subsampling": 0, "progressive": bool(rng.integers(2)), "optimize": bool(rng.integers(2))}
    return Made(saved(image(colours, mode), "JPEG", **options), colours, grey=channels == 1, off=2)


@kind("JPEG of RGB as it is")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    """Which only a segment of Adobe's says, once the components are not called R, G and B."""
    colours = smooth(rng, h, w, 3)
    data = saved(image(colours, "RGB"), "JPEG", quality=95, keep_rgb=True)
    for names, numbers in ((b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0"), (b"R\0G\0B\0", b"\1\0\2\0\3\0")):
        assert data.count(names) == 1
        data = data.replace(names, numbers)
    return Made(data, colours, off=2)


@kind("JPEG CMYK")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    colours = smooth(rng, h, w, 3)
    return Made(saved(image(colours, "RGB").convert("CMYK"), "JPEG", quality=95), colours, off=4)


@kind("WebP lossy")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    samples = smooth(rng, h, w, 4)
    data = saved(image(samples, "RGBA"), "WEBP", quality=95, exact=True, alpha_quality=100)
    return Made(data, samples[..., :3], samples[..., 3], off=6)


@kind("WebP animated")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    samples = noise(rng, h, w, 4)
    samples[samples[..., 3] == 0] = 0  # as Pillow does not ask for them to be kept in animations
    others = [image(noise(rng, h, w, 4), "RGBA") for _ in range(2)]
    data = saved(image(samples, "RGBA"), "WEBP", lossless=True, exact=True, save_all=True, append_images=others)
    return Made(data, samples[..., :3], samples[..., 3])


@kind("PNG animated")
def _(rng: np.random.Generator, h: int, w: int) -> Made:
    samples = noise(rng, h, w, 3)
    others = [image(noise(rng, h, w, 3), "RGB") for _ in range(2)]
    return Made(saved(image(samples, "RGB"), "PNG", save_all=True, append_images=others), samples)


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


def colours(size: tuple[int, int] = (16, 16)) -> NDArray[np.integer]:
    return np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)


PROFILED = {
    "PNG": lambda p, icc: saved(p, "PNG", icc_profile=icc),
    "JPEG": lambda p, icc: saved(p, "JPEG", icc_profile=icc, quality=95),
    "WEBP": lambda p, icc: saved(p, "WEBP", icc_profile=icc, lossless=True, exact=True),
    "TIFF": lambda p, icc: saved(p, "TIFF", icc_profile=icc),
}


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


def specimens(fmt: str) -> list[bytes]:
    """Files of a format, of all kinds above, and with metadata."""
    rng = np.random.default_rng(3)
    files = [KINDS[name](rng, 17, 23).data for name in KINDS if name.partition(" ")[0].strip(",") == fmt]
    tags = Image.Exif()
    tags[274], tags[305], tags[271] = 6, "software", "maker"
    if fmt in ("JPEG", "PNG", "WebP", "TIFF"):
        picture = Image.fromarray(colours((17, 23)))
        files.append(saved(picture, fmt.upper(), exif=tags, icc_profile=wide_profile()))
        files.append(saved(picture, fmt.upper(), exif=tags, icc_profile=table_profile(2, bytes(3 * 8), b"RGB ", 3)))
    return files


def damaged(rng: random.Random, files: list[bytes]) -> bytes:
    """Cut off, changed here and there, with something missing, repeated or out of another file."""
    whole = rng.choice(files)
    data = bytearray(whole)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        early = int(len(data) * rng.random() ** 3)  # headers are small, and matter most
        at, end = sorted((early, min(len(data), early + rng.choice([1, 2, 4, 16, 200]))))
        match rng.choice([0, 1, 1, 1, 2, 3, 4, 5, 5, 6, 6]):  # mostly in place
            case 0:
                del data[max(at, 1) :]
            case 1:
                for _ in range(rng.choice([1, 1, 3, 10])):
                    place = int(len(data) * rng.random() ** rng.choice([1, 3]))
                    data[min(place, len(data) - 1)] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * rng.choice([1, 50])
            case 4:
                other = rng.choice(files)
                start = rng.randrange(len(other))
                data[at:end] = other[start : start + rng.choice([4, 50, 5000])]
            case 5:
                data[at:end] = rng.randbytes(end - at)
            case 6:
                data[at:end] = rng.choice([b"\0", b"\xff", b"\x7f"]) * (end - at)
        if not data:
            break
    if rng.random() < 0.8:
        data[:12] = whole[:12]  # what tells the format: else most would end there
    return bytes(data)


def repaired(data: bytes) -> bytes:
    """A PNG with checksums that are right again, as these keep most damage from all that comes behind them."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 8 : at + 8 + length]
        out += png_chunk(data[at + 4 : at + 8], body)
        at += 12 + length
    return bytes(out)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"])
def test_damaged_files_are_refused_or_read_and_leave_nothing_behind(fmt: str, recwarn: pytest.WarningsRecorder) -> None:
    rng = random.Random(fmt)
    files = specimens(fmt)
    slowest, read_well, sizes = 0.0, 0, []
    for i in range(DAMAGES):
        data = damaged(rng, files)
        if fmt == "PNG" and i % 2:
            data = repaired(data)
        start = time.process_time()
        try:
            upload = read(data)
        except (BadPictureError, UnsupportedPictureError, PictureTooLargeError) as error:
            assert str(error) and len(str(error)) < 200 and " object at " not in str(error)
        else:
            read_well += 1
            height, width, _ = upload.pixels.shape
            assert height * width <= LIMIT
        slowest = max(slowest, time.process_time() - start)
        if i % (DAMAGES // 4) == 0:
            sizes.append(resident_bytes())
    assert slowest < 1
    assert 0 < read_well < DAMAGES
    assert sizes[-1] - sizes[1] < 8 * 2**20, sizes
    assert not recwarn.list


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_cut_off_is_never_half_a_picture(name: str) -> None:
    made = KINDS[name](np.random.default_rng(5), 11, 13)
    whole = read(made.data)
    animated = "animated" in name
    for length in range(len(made.data) - 1, -1, -1 - len(made.data) // 150):
        try:
            cut = read(made.data[:length])
        except PictureError:
            continue
        # what is missing there is the end of the last row's padding, or the mark that the file ends
        assert (len(made.data) - length <= 4 or animated) and (cut.pixels == whole.pixels).all(), length


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("missing", [1, 40, 400])
def test_a_png_whose_pixels_end_early_but_properly_is_refused(missing: int, interlaced: bool) -> None:
    """Pillow would leave the last rows black."""
    rows = bytes(30 * (30 * 3 + 1))
    full = png_file(np.zeros((30, 30, 3), np.uint8), pixels=zlib.compress(rows))
    assert read(full).pixels.shape == (30, 30, 3)
    with pytest.raises(BadPictureError, match="cut off"):
        read(png_file(np.zeros((30, 30, 3), np.uint8), interlaced=interlaced, pixels=zlib.compress(rows[:-missing])))


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("step", [1, 1000, 2**14, png.STEP])
def test_a_png_of_any_compression_is_complete(level: int, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels that inflate a lot, or not at all, so that steps of inflating end everywhere."""
    monkeypatch.setattr(png, "STEP", step)
    side = 12 if step == 1 else 400
    for samples in (np.zeros((side, side, 3), np.uint8), noise(np.random.default_rng(0), side, side, 3) // 16):
        data = png_file(samples, pixels=zlib.compress(png_rows(samples, 8), level))
        assert (read(data, 10**6).pixels == samples).all()


def huge_png(**more: object) -> bytes:
    return png_file(np.zeros((1, 1, 3), np.uint8), size=(60_000, 60_000), **more)


@functools.cache
def zeros(count: int) -> bytes:
    """That many zeros, deflated without holding them."""
    deflate = zlib.compressobj(9)
    return b"".join([*(deflate.compress(bytes(2**20)) for _ in range(count // 2**20)), deflate.flush()])


def short_tiff(**tags: tuple[int, object]) -> bytes:
    """One grey pixel, and tags by `t` and number."""
    return tiff_file(tiff_tags(1, 1, [8], 1) | {int(n[1:]): t for n, t in tags.items()}, [b"\x80"])


def patched_webp(at: int, value: bytes, **options: object) -> bytes:
    data = bytearray(saved(Image.fromarray(colours()), "WEBP", **options))
    data[at : at + len(value)] = value
    return bytes(data)


def animated_webp(frames: int) -> bytes:
    pictures = [Image.fromarray(colours() // 2 + i % 2 * 100) for i in range(3)]
    data = saved(pictures[0], "WEBP", save_all=True, append_images=pictures[1:], lossless=True)
    first = data.index(b"ANMF")
    length = 8 + int.from_bytes(data[first + 4 : first + 8], "little")
    return webp_file(data[12:first], data[first : first + length] * frames)


def scanned_jpeg(scans: int) -> bytes:
    """Progressive, its last scan over and over."""
    data = saved(Image.new("L", (250, 250), 99), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def run_lengths(width: int, height: int, runs: bytes) -> bytes:
    """A BMP that is as it should be."""
    data = bmp_file(width, height, 8, bytes(range(256)) * 4 + runs, 1)
    return data[:10] + (54 + 1024).to_bytes(4, "little") + data[14:]


def unfinished_gif() -> bytes:
    """Its first frame ends before its pixels do, and what follows would do for the rest."""
    data = gif_file(1, (10, 10))
    start = data.rindex(b"\x2c\0\0\0\0\x0a\0\x0a\0\0")
    clear_and_end = (256 | 257 << 9).to_bytes(3, "little")
    return data[:start] + data[start : start + 10] + b"\x08\x03" + clear_and_end + b"\0" + b"\xff" + bytes(255) + b"\0;"


def overlapping_tags() -> bytes:
    """Two tags of 700 numbers each, in the same bytes, of a file of less."""
    data = tiff_file(tiff_tags(1, 1, [8], 1) | {320: (SHORT, [0] * 700), 338: (SHORT, [0] * 5)}, [b"\x80"])
    at = data.index(struct.pack("<HHL", 338, SHORT, 5))
    table = data[data.index(struct.pack("<HHL", 320, SHORT, 700)) + 8 :][:4]
    return data[:at] + struct.pack("<HHL", 338, SHORT, 700) + table + data[at + 12 :]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


jpg = saved(Image.fromarray(colours()), "JPEG")

REFUSED: dict[str, tuple[type[PictureError], Callable[[], bytes]]] = {
    "empty": (UnsupportedPictureError, lambda: b""),
    "SVG": (UnsupportedPictureError, lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'),
    "HTML": (UnsupportedPictureError, lambda: b"<!DOCTYPE html><html><script>alert(1)</script></html>"),
    "text": (UnsupportedPictureError, lambda: b"BM is how this text begins; it is no bitmap for all that"),
    "JSON": (UnsupportedPictureError, lambda: b'{"image": "data:image/png;base64,"}'),
    "noise": (UnsupportedPictureError, lambda: bytes(1000)),
    "PostScript": (UnsupportedPictureError, lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "RIFF of sound": (UnsupportedPictureError, lambda: b"RIFF\x24\0\0\0WAVEfmt "),
    **{
        f"{fmt}, which Pillow could read": (UnsupportedPictureError, lambda fmt=fmt: saved(Image.new("RGB", (16, 16)), fmt))
        for fmt in ("PPM", "ICO", "TGA", "PCX", "SGI", "JPEG2000", "AVIF", "EPS", "DDS", "QOI")
    },
    "PNG bomb": (PictureTooLargeError, huge_png),
    "PNG bomb of zeros": (PictureTooLargeError, lambda: huge_png(pixels=zeros(100 * 2**20))),
    "PNG bomb behind texts": (
        PictureTooLargeError,
        lambda: huge_png(before=png_chunk(b"zTXt", b"k\0\0" + zeros(2**20)) * 60),
    ),
    "PNG of 2**31 a side": (PictureTooLargeError, lambda: png_file(np.zeros((1, 1, 1), np.uint8), size=(2**31, 2**31))),
    "PNG without a side": (BadPictureError, lambda: png_file(np.zeros((1, 1, 1), np.uint8), size=(0, 5))),
    "PNG of more pixels than it has": (BadPictureError, lambda: png_file(np.zeros((1, 1, 1), np.uint8), size=(250, 250))),
    "PNG of empty parts": (
        BadPictureError,
        lambda: png_file(np.zeros((1, 1, 1), np.uint8), before=png_chunk(b"IDAT", b"") * 40_000),
    ),
    "PNG chunk beyond the end": (BadPictureError, lambda: PNG_START + b"\x7f\xff\xff\xffIHDR" + bytes(30)),
    "PNG without a palette": (BadPictureError, lambda: png_file(np.zeros((1, 1, 1), np.uint8), colour_type=3)),
    "PNG of pixels that are not those that were sent": (
        BadPictureError,
        lambda: flipped(png_file(colours(), pixels=zlib.compress(png_rows(colours(), 8), 0)), 200),
    ),
    "PNG of another palette": (
        BadPictureError,
        lambda: flipped(saved(palette(np.random.default_rng(0), 9, 9, 256)[0], "PNG"), 100),
    ),
    "PNG of another transparency": (
        BadPictureError,
        lambda: png_file(colours(), before=flipped(png_chunk(b"tRNS", bytes(6)), 9)),
    ),
    "PNG of no depth": (
        BadPictureError,
        lambda: png_file(np.zeros((1, 1, 1), np.uint8), 0, before=png_chunk(b"tRNS", b"\0\0")),
    ),
    "PNG of unknown colours": (BadPictureError, lambda: png_file(np.zeros((1, 1, 1), np.uint8), colour_type=5)),
    "GIF bomb": (PictureTooLargeError, lambda: gif_file(1, screen=(65535, 65535))),
    "GIF frame far out": (PictureTooLargeError, lambda: gif_file(1).replace(b"\x2c\0\0\0\0", b"\x2c\xff\xff\xff\xff")),
    "GIF and then HTML": (PictureError, lambda: b"GIF89a<html><script>alert(1)</script></html>"),
    "GIF of a small screen and then HTML": (
        BadPictureError,
        lambda: b"GIF89a\x01\0\x01\0\0\0\0<html><script>alert(1)</script>",
    ),
    "GIF without end of comments": (BadPictureError, lambda: gif_file(1)[:19] + b"!\xfe" + b"\x01a" * 2**20),
    "GIF that is not finished": (BadPictureError, unfinished_gif),
    "WebP bomb": (PictureTooLargeError, lambda: webp_file(webp_chunk(b"VP8X", b"\x02\0\0\0" + b"\xff" * 6))),
    "WebP bomb, lossy": (PictureTooLargeError, lambda: patched_webp(26, b"\xff\x3f\xff\x3f")),
    "WebP bomb, lossless": (PictureTooLargeError, lambda: patched_webp(21, b"\xff\xff\xff\x0f", lossless=True)),
    "WebP of a canvas alone": (BadPictureError, lambda: webp_file(webp_chunk(b"VP8X", bytes(10)))),
    "WebP canvas unlike its picture": (
        BadPictureError,
        lambda: webp_file(webp_chunk(b"VP8X", bytes(4) + b"\xf0\0\0\xf0\0\0"), saved(Image.new("RGB", (9, 9)), "WEBP")[12:]),
    ),
    "WebP of many parts": (
        BadPictureError,
        lambda: (
            saved(Image.new("RGB", (9, 9)), "WEBP")[:4]
            + webp_file(webp_chunk(b"VP8X", bytes(10)), webp_chunk(b"none", b"") * 9000)[4:]
        ),
    ),
    "BMP bomb": (PictureTooLargeError, lambda: bmp_file(2**31 - 1, 2**31 - 1)),
    "BMP bomb from top to bottom": (PictureTooLargeError, lambda: bmp_file(60_000, -(2**31))),
    "BMP of negative width": (BadPictureError, lambda: bmp_file(-4, 4, pixels=bytes(48))),
    "BMP without pixels": (BadPictureError, lambda: bmp_file(200, 200)),
    "BMP of odd depth": (BadPictureError, lambda: bmp_file(2, 2, 13, bytes(16))),
    "BMP of run lengths": (
        BadPictureError,
        lambda: run_lengths(2, 2, b"\x02\x05\x00\x00\x02\x06\x00\x01"),
    ),
    "BMP of another header": (BadPictureError, lambda: bmp_file(2, 2, header=41, pixels=bytes(99))),
    "TIFF bomb": (PictureTooLargeError, lambda: short_tiff(t256=(LONG, [2**32 - 1]), t257=(LONG, [2**32 - 1]))),
    "TIFF without a side": (BadPictureError, lambda: short_tiff(t256=(LONG, [0]))),
    "TIFF of sizes with fractions": (BadPictureError, lambda: short_tiff(t256=(RATIONAL, bytes(8)))),
    "TIFF of more strips than it has": (BadPictureError, lambda: short_tiff(t257=(LONG, [200]), t278=(LONG, [1]))),
    "TIFF of strips of no rows": (BadPictureError, lambda: short_tiff(t278=(LONG, [0]))),
    "TIFF strips beyond the end": (BadPictureError, lambda: short_tiff(t273=(LONG, [2**32 - 1]))),
    "TIFF strips that overlap": (
        BadPictureError,
        lambda: tiff_file(
            tiff_tags(1, 60_000, [8], 1, t259=5, t278=1) | {273: (LONG, [8] * 60_000), 279: (LONG, [10**5] * 60_000)},
            [bytes(10**5)],
        ),
    ),
    "TIFF strips that overlap a little": (
        BadPictureError,
        lambda: tiff_file(tiff_tags(9, 9, [8], 1, t278=1) | {273: (LONG, [8 + 8 * i for i in range(9)])}, [bytes(99)]),
    ),
    "TIFF tags that overlap": (BadPictureError, overlapping_tags),
    "TIFF of a million strips": (
        BadPictureError,
        lambda: tiff_file(tiff_tags(1, 2**16, [8], 1, t278=1) | {273: (LONG, b"\x08\0\0\0" * 10**6)}, [b""]),
    ),
    "TIFF of enormous tiles": (
        BadPictureError,
        lambda: tiff_file(tiff_tags(9, 9, [8], 1, t259=8, t322=32768, t323=32768), [zeros(2**26)], tiled=True),
    ),
    "TIFF of enormous samples": (BadPictureError, lambda: short_tiff(t277=(LONG, [2**31]))),
    "TIFF of many tags": (BadPictureError, lambda: short_tiff(**{f"t{i}": (SHORT, [1]) for i in range(30_000, 40_000)})),
    "TIFF of 2**62 tags": (
        BadPictureError,
        lambda: b"II\x2b\0\x08\0\0\0\x10" + bytes(7) + (2**62).to_bytes(8, "little") + bytes(2**22),
    ),
    "TIFF that leads to itself": (BadPictureError, lambda: b"II\x2a\0\x04\0\0\0" + bytes(40)),
    "TIFF, big in both ways": (BadPictureError, lambda: tiff_file(tiff_tags(1, 1, [8], 1), [b"\x80"], order=">", big=True)),
    "TIFF of old JPEG": (BadPictureError, lambda: short_tiff(t259=(SHORT, [6]))),
    "TIFF of LZMA": (BadPictureError, lambda: short_tiff(t259=(SHORT, [34925]))),
    "TIFF of 12 bits": (BadPictureError, lambda: short_tiff(t258=(SHORT, [12]))),
    "TIFF of channels apart, of 16 bits": (
        BadPictureError,
        lambda: tiff_file(tiff_tags(1, 1, [16] * 3, 2, t284=2), [b"\1\2", b"\3\4", b"\5\6"]),
    ),
    "JPEG bomb": (PictureTooLargeError, lambda: jpg.replace(b"\x08\0\x10\0\x10\x03", b"\x08\xff\xff\xff\xff\x03")),
    "JPEG of no height": (BadPictureError, lambda: jpg.replace(b"\x08\0\x10\0\x10\x03", b"\x08\0\0\0\x10\x03")),
    "JPEG of two headers": (
        BadPictureError,
        lambda: jpg[: jpg.index(b"\xff\xc0")] + jpg[jpg.index(b"\xff\xc0") :][:19] + jpg[jpg.index(b"\xff\xc0") :],
    ),
    "JPEG of many segments": (BadPictureError, lambda: jpg[:2] + b"\xff\xe5\0\x02" * 10**6 + jpg[2:]),
    "JPEG of many scans": (BadPictureError, lambda: scanned_jpeg(3000)),
    "JPEG of junk": (BadPictureError, lambda: jpg[:3] + bytes(2**22)),
    "JPEG without scans": (BadPictureError, lambda: jpg[: jpg.index(b"\xff\xda")] + b"\xff\xd9"),
    "JPEG that is lossless": (BadPictureError, lambda: jpg.replace(b"\xff\xc0", b"\xff\xc3")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_a_picture_is_refused_at_once(name: str) -> None:
    kind_of_error, make = REFUSED[name]
    data = make()
    with within(0.3), pytest.raises(kind_of_error) as caught:
        read(data)
    with peak_below(4 * 2**20), contextlib.suppress(kind_of_error):
        read(data)
    if isinstance(caught.value, PictureTooLargeError):
        assert caught.value.limit == LIMIT
        assert f"{caught.value.width}x{caught.value.height}" in str(caught.value) and str(LIMIT) in str(caught.value)


def test_refusals_take_no_memory_from_the_system_either(tmp_path: Path) -> None:
    """Pillow's own, which Python does not see: in a process whose peak is of nothing else."""
    for i, (_, make) in enumerate(REFUSED.values()):
        (tmp_path / str(i)).write_bytes(make())
    (tmp_path / "profile").write_bytes(PROFILED["TIFF"](Image.fromarray(colours()).convert("CMYK"), table_profile(80, b"")))
    script = f"""
import pathlib, re
from app.codecs.upload import PictureError, read_picture
files = [p.read_bytes() for p in pathlib.Path({str(tmp_path)!r}).iterdir()]
# not that of getrusage, which begins with what the parent's was
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
for data in files:
    try:
        read_picture(data, max_pixels={LIMIT})
    except PictureError:
        pass
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert int(done.stdout) < 16  # MiB; a canvas or table that is laid out would be of hundreds


READ: dict[str, Callable[[], bytes]] = {
    "JPEG and then a zip": lambda: jpg + b"PK\x03\x04" + b"\xff\xda" * 1000 + bytes(1000),
    "JPEG and then another": lambda: jpg + jpg,
    "JPEG behind junk": lambda: jpg[:20] + bytes(1000) + jpg[20:],
    "JPEG with films inside": lambda: jpg[:2] + b"\xff\xe2\xff\xffMPF\0" + bytes(65529) + jpg[2:],
    "JPEG whose films are a lie": lambda: saved(
        Image.fromarray(colours()), "MPO", save_all=True, append_images=[Image.fromarray(colours()) for _ in range(2)]
    ),
    "JPEG with a profile in parts that miss one": lambda: jpg[:2] + b"\xff\xe2\0\x14ICC_PROFILE\0\x02\x03abcd" + jpg[2:],
    "PNG with 100 MB of text": lambda: png_file(colours(), before=png_chunk(b"zTXt", b"k\0\0" + zeros(100 * 2**20))),
    "PNG with 100 MB of profile": lambda: png_file(colours(), before=png_chunk(b"iCCP", b"k\0\0" + zeros(100 * 2**20))),
    "PNG with texts without end": lambda: png_file(colours(), before=png_chunk(b"iTXt", b"k\0\x01\0\0\0" + zeros(2**20)) * 999),
    "PNG with a broken text": lambda: png_file(colours(), before=png_chunk(b"tEXt", b"k\0v")[:-1] + b"!"),
    "PNG that says it is animated, twice": lambda: png_file(colours(), before=png_chunk(b"acTL", b"\xff" * 8) * 2),
    "PNG and then HTML": lambda: png_file(colours()) + b"<html></html>",
    "PNG of many small parts": lambda: in_parts(png_file(colours())),
    "TIFF with a million fractions": lambda: tiff_file(
        tiff_tags(16, 16, [8] * 3, 2) | {282: (RATIONAL, bytes(8 * 10**6)), 34853: (LONG, [8])}, [colours().tobytes()]
    ),
    "TIFF whose next picture is itself": lambda: looped(
        tiff_file(tiff_tags(16, 16, [8] * 3, 2), [colours().tobytes()]),
    ),
    "TIFF with tags of no known type": lambda: tiff_file(
        tiff_tags(16, 16, [8] * 3, 2) | {65000: (UNDEFINED, b"12345678")}, [colours().tobytes()]
    ).replace((65000).to_bytes(2, "little") + b"\x07\0", (65000).to_bytes(2, "little") + b"\x63\0"),
    "WebP and then a zip": lambda: saved(Image.fromarray(colours()), "WEBP", lossless=True) + b"PK\x03\x04" + bytes(100),
}


def in_parts(data: bytes) -> bytes:
    """A PNG whose pixels come a byte at a time."""
    at = data.index(b"IDAT") - 4
    body = data[at + 8 : -16]
    return data[:at] + b"".join(png_chunk(b"IDAT", body[i : i + 1]) for i in range(len(body))) + data[-12:]


def looped(data: bytes) -> bytes:
    """A TIFF whose directory is its own successor."""
    return data[:-4] + data[4:8]


@pytest.mark.parametrize("name", READ)
def test_what_comes_with_a_picture_does_not_keep_it_from_being_read(name: str, recwarn: pytest.WarningsRecorder) -> None:
    data = READ[name]()
    with within(0.3):
        upload = read(data)
    with peak_below(3 * len(data) + 10 * 2**20):  # twice the largest profile that is looked at
        read(data)
    expected = read(jpg).pixels if name.startswith("JPEG") else colours()
    assert np.abs(upload.pixels.astype(int) - expected).mean() < 20
    assert "JPEG" in name or (upload.pixels == expected).all()
    assert not recwarn.list


def test_an_animation_costs_no_more_than_its_first_frame() -> None:
    """Neither are the others counted: they need not even be there."""
    for make in (gif_file, animated_webp):
        first, all_of_them = read(make(1)), make(4000 if make is animated_webp else 5000)
        with within(0.2):
            upload = read(all_of_them)
        assert (upload.pixels == first.pixels).all()
    junk = gif_file(1)[:-1] + os.urandom(1000)
    assert (read(junk).pixels == read(gif_file(1)).pixels).all()


def test_a_decoder_that_sees_another_size_than_the_sieve_is_not_believed() -> None:
    found = png.sieve(png_file(colours()), lambda _width, _height: None)
    with pytest.raises(DamagedError, match="contradicts itself"):
        decode(PngImagePlugin.PngImageFile, replace(found, size=(15, 16)))


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
