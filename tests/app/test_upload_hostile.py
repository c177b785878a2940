"""Hostile uploads: refused from their first bytes, in no time and memory, or harmless."""

import contextlib
import functools
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from picture_files import (
    LONG,
    PNG_START,
    RATIONAL,
    SHORT,
    UNDEFINED,
    bmp_file,
    gif_file,
    png_chunk,
    png_file,
    png_rows,
    saved,
    table_profile,
    tiff_file,
    tiff_tags,
    webp_chunk,
    webp_file,
)
from picture_kinds import PROFILED, colours, palette
from PIL import Image, PngImagePlugin
from upload_kit import LIMIT, peak_below, read, within

from app.codecs.decoding import decode
from app.codecs.sieves import DamagedError, png
from app.codecs.upload import (
    BadPictureError,
    PictureError,
    PictureTooLargeError,
    UnsupportedPictureError,
)

ROOT = Path(__file__).resolve().parents[2]


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
