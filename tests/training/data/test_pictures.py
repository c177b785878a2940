import io
import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from training.data import DataError
from training.data.pictures import MAX_PIXELS, BrokenPictureError, Item, collect, decode


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str, colour: object, size: tuple[int, int] = (6, 6)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def palette() -> Image.Image:
    picture = plain("P", 1)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    return picture


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(plain("L", 77)), [77]),
        (encoded(plain("1", 1)), [255]),
        (encoded(plain("RGB", (10, 200, 30))), [10, 200, 30]),
        (encoded(palette()), [10, 200, 30]),
        (encoded(palette(), transparency=1), [255, 255, 255]),
        (encoded(plain("RGBA", (10, 200, 30, 255))), [10, 200, 30]),
        (encoded(plain("RGBA", (10, 200, 30, 0))), [255, 255, 255]),  # over white, and not whatever lies beneath
        (encoded(plain("RGBA", (0, 0, 0, 51))), [204, 204, 204]),
        (encoded(plain("LA", (0, 51))), [204]),
        (encoded(Image.fromarray(np.full((6, 6), 0x8080, np.uint16))), [128]),  # not clipped to white
        (encoded(Image.fromarray(np.full((6, 6), 0xFFFF, np.uint16)), "TIFF"), [255]),
        (encoded(Image.fromarray(np.full((6, 6), 40000, np.int32)), "TIFF"), [156]),
        (encoded(plain("CMYK", (0, 0, 0, 255)), "TIFF"), [0, 0, 0]),
        (encoded(plain("CMYK", (255, 0, 0, 0)), "TIFF"), [0, 255, 255]),
    ],
)
def test_every_mode_becomes_grey_or_rgb(data: bytes, expected: list[int]) -> None:
    pixels = decode(data, resolution=None, channels=None)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (len(expected), 6, 6)
    assert (pixels == np.array(expected)[:, None, None]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_what_was_asked_for(mode: str, channels: int) -> None:
    data = encoded(Image.new(mode, (6, 6)), "TIFF" if mode == "CMYK" else "PNG")
    assert decode(data, resolution=4, channels=channels).shape == (channels, 4, 4)


def test_luma_weighs_green_most() -> None:
    luma = [decode(encoded(plain("RGB", colour)), None, 1)[0, 0, 0] for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    assert luma == [76, 150, 29]  # ITU-R 601


def test_photographs_are_turned_upright() -> None:
    picture = plain("RGB", (0, 0, 0), (4, 8))
    picture.paste((255, 255, 255), (0, 0, 4, 2))  # white on top
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright = decode(encoded(picture, exif=exif), None, None)
    assert upright.shape == (3, 4, 8)
    assert upright[0, 0].tolist() == [0] * 6 + [255] * 2  # the top is at the right now


def test_crops_the_centre_then_resizes() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    assert (decode(encoded(Image.fromarray(wide)), 5, None) == 200).all()


def test_resizing_is_antialiased() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    small = decode(encoded(Image.fromarray(checks.astype(np.uint8))), 8, None)
    assert np.abs(small.astype(int) - 127).max() <= 8  # nearest neighbour would give 0s and 255s


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + ihdr + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8193, 10_000, 20_000, 60_000])
def test_decompression_bombs_are_refused_undecoded(side: int) -> None:
    with pytest.raises(BrokenPictureError, match=str(MAX_PIXELS)):
        decode(png_header(side, side), 8, None)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
BROKEN = {
    "empty": b"",
    "text": b"not a picture",
    "cut-off png": encoded(NOISE)[:9000],
    "cut-off jpeg": encoded(NOISE, "JPEG")[:3000],
    "changed png": encoded(NOISE)[:9000] + b"x" + encoded(NOISE)[9001:],
    "header only": b"GIF89a",
    "another format": b"%!PS-Adobe-3.0 EPSF-3.0\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_files_say_so(data: bytes) -> None:
    with pytest.raises(BrokenPictureError):
        decode(data, 8, None)


def test_unbounded_pixels_are_refused() -> None:
    with pytest.raises(BrokenPictureError, match="floating-point"):
        decode(encoded(plain("F", 0.5), "TIFF"), None, None)
    with pytest.raises(BrokenPictureError, match="more than 16 bits"):
        decode(encoded(plain("I", 70_000), "TIFF"), None, None)


def unreadable() -> bytes:
    raise PermissionError("Permission denied")


def test_a_broken_picture_takes_its_label_with_it(caplog: pytest.LogCaptureFixture) -> None:
    items = [Item(f"{i}.png", i % 2, lambda i=i: encoded(plain("L", i))) for i in range(6)]  # type: ignore[misc]
    items[2] = Item("2.png", 0, lambda: b"broken")
    items[3] = Item("3.png", 1, unreadable)
    with caplog.at_level(logging.WARNING):
        data = collect(items, ("even", "odd"), resolution=None, channels=None)
    assert data.images[:, 0, 0, 0].tolist() == [0, 1, 4, 5]
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert [reason.split(":")[0] for reason in data.skipped] == ["2.png", "3.png"]
    assert "2.png" in caplog.text
    assert "Permission denied" in caplog.text


def test_a_class_that_lost_everything_is_an_error() -> None:
    items = [Item("a.png", 0, lambda: encoded(plain("L", 0))), Item("b.png", 1, lambda: b"broken")]
    with pytest.raises(DataError, match="class 'bee' has no pictures"):
        collect(items, ("ay", "bee"), resolution=None, channels=None)
    with pytest.raises(DataError, match=r"no pictures could be read \(left out: b.png"):
        collect(items[1:], (), resolution=None, channels=None)


def test_different_sizes_need_a_resolution() -> None:
    items = [Item(f"{s}.png", 0, lambda s=s: encoded(plain("L", 0, (s, s)))) for s in (6, 7)]  # type: ignore[misc]
    with pytest.raises(DataError, match=r"7\.png is 7x7 px grey and 6\.png is 6x6 px grey. Set `resolution`"):
        collect(items, (), resolution=None, channels=None)
    assert collect(items, (), resolution=6, channels=None).images.shape == (2, 1, 6, 6)
