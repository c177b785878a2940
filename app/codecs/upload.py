"""Uploaded pictures → arrays. Files are untrusted: of each, `sieves` takes out what a decoder may see."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from app.codecs.decoding import OPAQUE, RAISED, Decoder, Pixels, decode
from app.codecs.profile import to_srgb
from app.codecs.sieves import Check, DamagedError, Sieved, bmp, gif, jpeg, png, tiff, webp
from app.codecs.sieves.tiff import orientation

Sieve = Callable[[bytes, Check], Sieved]

# called by name, and not by Pillow's `open`: that way no other of its readers can ever see a byte
READERS: dict[str, tuple[Sieve, Decoder]] = {
    "jpeg": (jpeg.sieve, JpegImageFile),
    "png": (png.sieve, PngImageFile),
    "webp": (webp.sieve, WebPImageFile),
    "gif": (gif.sieve, GifImageFile),
    "bmp": (bmp.sieve, BmpImageFile),
    "tiff": (tiff.sieve, TiffImageFile),
}
SPOKEN = "JPEG, PNG, WebP, GIF, BMP or TIFF"
TIFF_STARTS = (b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b")


class PictureError(Exception):
    """Root of what is wrong with an uploaded picture. Its text is shown to the caller."""


class UnsupportedPictureError(PictureError):
    """No picture, or one of a format that is not read."""


class BadPictureError(PictureError):
    """Of a format that is read, but damaged, cut off, or with pixels that can't be understood."""


class PictureTooLargeError(PictureError):
    """More pixels than are read: `width` x `height`, and at most `limit`."""

    def __init__(self, width: int, height: int, limit: int) -> None:
        super().__init__(f"the picture has {width}x{height} px, and at most {limit} are read: make it smaller")
        self.width, self.height, self.limit = width, height, limit


@dataclass(frozen=True, eq=False)
class Upload:
    """A picture that was read, upright and in sRGB.

    `pixels`: uint8 (H, W, 3), not blended with anything: under transparent pixels, the colour that the file has there.
    `alpha`: uint8 (H, W), 255 is opaque; None if all of it is. `had_alpha`: whether the file said anything about transparency,
    be it that all is opaque. `grey`: the file has one channel, or a palette of greys, so that the three channels of `pixels`
    are equal. `format`: jpeg, png, webp, gif, bmp or tiff.
    """

    pixels: Pixels
    alpha: Pixels | None
    grey: bool
    had_alpha: bool
    format: str


def read_picture(data: bytes, *, max_pixels: int) -> Upload:
    """The bytes of a file → its picture, of animations the first; told by its content, whatever it is called.

    Raises UnsupportedPictureError, PictureTooLargeError (before anything is decoded; never more than Pillow's own limit are
    read, whatever `max_pixels`) and BadPictureError.
    """
    kind = _format_of(data)
    limit = min(max_pixels, Image.MAX_IMAGE_PIXELS or max_pixels)

    def check(width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise DamagedError(f"says that it has {width}x{height} px")
        if width * height > limit:
            raise PictureTooLargeError(width, height, limit)

    try:
        return _decoded(kind, READERS[kind][0](data, check))
    except DamagedError as error:
        raise BadPictureError(f"the {kind} file {error}") from error
    except (struct.error, IndexError) as error:  # of the readers, which go on to the end
        raise BadPictureError(f"the {kind} file is cut off") from error


def composited(upload: Upload, background: int = 255) -> Pixels:
    """Over a grey from black (0) to white (255), for models that know no transparency: uint8 (H, W, 3)."""
    if upload.alpha is None:
        return upload.pixels
    alpha = upload.alpha[..., None].astype(np.uint16)
    blended = upload.pixels * alpha + np.uint16(background) * (OPAQUE - alpha)  # 65025 at most
    return ((blended + 127) // 255).astype(np.uint8)


def in_family_of(upload: Upload, pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """Pixels (H', W', 3), and alpha (H', W') → (H', W', C) with the channels of an upload, for the answer to it.

    C: 1 (grey), 2 (grey and alpha), 3 or 4. Grey is luma by ITU-R 601. An upload that had alpha gets it, opaque where None is
    given; for others it is left out. Raises ValueError if the two differ in size.
    """
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        raise ValueError(f"alpha of {alpha.shape} does not fit pixels of {pixels.shape}")
    colours = np.array(Image.fromarray(pixels).convert("L"))[..., None] if upload.grey else pixels
    if not upload.had_alpha:
        return colours
    if alpha is None:
        alpha = np.full(pixels.shape[:2], OPAQUE, dtype=np.uint8)
    return np.concatenate([colours, alpha[..., None]], axis=2)


def _format_of(data: bytes) -> str:
    """By the first bytes. Raises UnsupportedPictureError."""
    if not data:
        raise UnsupportedPictureError(f"the file is empty; send a picture as {SPOKEN}")
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM") and data[15:18] == bytes(3):  # two letters are few: and the header's length, below 256
        return "bmp"
    if data.startswith(TIFF_STARTS):
        return "tiff"
    raise UnsupportedPictureError(f"the file is no picture of a kind that is read; send {SPOKEN}")


def _decoded(kind: str, found: Sieved) -> Upload:
    """Decodes what the sieve left. Raises BadPictureError."""
    try:
        image, alpha, grey = decode(READERS[kind][1], found)
        colours = np.array(to_srgb(image, found.profile))  # a copy, as torch wants arrays that can be written to
    except RAISED as error:
        # not in its words, which are of its innards
        raise BadPictureError(f"the {kind} file is damaged: its pixels can't be decoded. Save it again") from error
    turned = orientation(found.exif)
    pixels = _upright(colours if colours.ndim == 3 else np.repeat(colours[..., None], 3, axis=2), turned)
    had_alpha = alpha is not None
    if alpha is not None:
        alpha = None if (alpha == OPAQUE).all() else _upright(alpha, turned)
    return Upload(pixels, alpha, grey, had_alpha, kind)


def _upright(pixels: Pixels, turned: int) -> Pixels:
    """(H, W) or (H, W, 3), turned as EXIF's orientation asks for."""
    if turned >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turned in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turned in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
