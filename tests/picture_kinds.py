"""Every kind of picture file that is read, made at random: what a test sends, and what should come back."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from picture_files import (
    SHORT,
    bmp_file,
    png_chunk,
    png_file,
    saved,
    tiff_file,
    tiff_tags,
)
from PIL import Image

Pixels = NDArray[np.uint8]


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


def colours(size: tuple[int, int] = (16, 16)) -> NDArray[np.integer]:
    return np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)


PROFILED = {
    "PNG": lambda p, icc: saved(p, "PNG", icc_profile=icc),
    "JPEG": lambda p, icc: saved(p, "JPEG", icc_profile=icc, quality=95),
    "WEBP": lambda p, icc: saved(p, "WEBP", icc_profile=icc, lossless=True, exact=True),
    "TIFF": lambda p, icc: saved(p, "TIFF", icc_profile=icc),
}
