"""What a sieve left of a file → an image of 8 bits a sample, and its transparency."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from app.codecs.sieves import DamagedError, Sieved

Pixels = NDArray[np.uint8]
Samples = NDArray[np.integer[Any]]
Decoder = Callable[[io.BytesIO], ImageFile.ImageFile]

GREY_MODES = frozenset({"1", "L", "LA", "La"})
PALETTE_MODES = frozenset({"P", "PA"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
COLOURS_OF_16 = frozenset({"RGB", "RGBX", "RGBA", "CMYK"})
LOW_BYTES = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # by byte order, the other one
OPAQUE = 255
WHITE_16 = 65535
BLOCK = 2**18

# what decoders raise on damage. Not Warning: nothing that gets through the sieve warns
RAISED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
)


def decode(decoder: Decoder, found: Sieved) -> tuple[Image.Image, Pixels | None, bool]:
    """The image as L, RGB or CMYK; its alpha (H, W), None without any; and whether it is grey: one channel, or a grey palette.

    Raises DamagedError, or one of RAISED.
    """
    image, samples = _opened(decoder, found)
    grey = image.mode in GREY_MODES or (image.mode in PALETTE_MODES and _is_grey(image.getpalette("RGB") or []))
    alpha: Pixels | None = None
    if found.transparent:
        if samples is None:
            samples = np.asarray(image.convert("L") if grey else image)
        same = samples.reshape(image.height, image.width, -1) == found.transparent
        alpha = np.where(same.all(axis=2), 0, OPAQUE).astype(np.uint8)
    elif image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("LA" if grey else "RGBA")
        alpha = np.array(image.getchannel("A"))
    if image.mode != "CMYK":
        image = image.convert("L" if grey else "RGB")
    return image, alpha, grey


def _is_grey(palette: list[int]) -> bool:
    """Whether there are no colours in it: red, green and blue, over and over."""
    return palette[::3] == palette[1::3] == palette[2::3]


def _opened(decoder: Decoder, found: Sieved) -> tuple[Image.Image, Samples | None]:
    """The image with 8 bits a sample; and (H, W) or (H, W, C) as they were, where they had 16."""
    image = _lazy(decoder, found)
    stored = _stored(image)
    if stored == "LA;16B":
        _load(image, "RGBA")  # by bytes: high and low of grey, high and low of alpha
        halves = np.asarray(image).astype(np.uint16)
        return _rounded(halves[..., ::2] << 8 | halves[..., 1::2], "LA")
    image.load()
    if image.mode == "F":
        raise DamagedError("holds floating-point pixels, whose range can't be known; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if not 0 <= samples.min() <= samples.max() <= WHITE_16:
            raise DamagedError("holds pixels of more than 16 bits, whose range can't be known; save it with 8 or 16 bits")
        return _rounded(WHITE_16 - samples if found.white_is_zero else samples, "L")
    if stored[-4:-1] == ";16" and stored[:-4] in COLOURS_OF_16:
        # Pillow's colours have 8 bits, the high ones: for the low ones, the file is read as if their order were the other
        lows = _lazy(decoder, found)
        _load(lows, stored[:-1] + LOW_BYTES[stored[-1]])
        samples = np.asarray(image).astype(np.uint16)
        samples <<= 8
        samples |= np.asarray(lows)
        return _rounded(samples, image.mode)
    return image, None


def _lazy(decoder: Decoder, found: Sieved) -> ImageFile.ImageFile:
    """The image, of which only the header is read. Raises DamagedError."""
    image = decoder(io.BytesIO(found.data))
    if image.size != found.size:
        raise DamagedError("contradicts itself about its size")
    return image


def _stored(image: ImageFile.ImageFile) -> str:
    """How the file stores its samples, as Pillow says it: RGB;16B has 16 bits, high byte first. Empty if that is not known."""
    args = image.tile[0].args if image.tile else ""
    return str(args[0]) if isinstance(args, tuple) else args or ""


def _load(image: ImageFile.ImageFile, stored: str) -> None:
    """Decodes the pixels as if the samples were stored like that."""
    image.tile = [t._replace(args=(stored, *t.args[1:]) if isinstance(t.args, tuple) else stored) for t in image.tile]
    image.load()


def _rounded(samples: Samples, mode: str) -> tuple[Image.Image, Samples]:
    """Samples of 16 bits as an image of 8, white to white; and as they are."""
    flat, pixels = samples.reshape(-1), np.empty(samples.size, np.uint8)
    for start in range(0, len(flat), BLOCK):  # some at a time, as such pictures are large already
        part = slice(start, start + BLOCK)
        pixels[part] = (flat[part].astype(np.uint32) + 128) // 257
    return Image.frombytes(mode, (samples.shape[1], samples.shape[0]), pixels.tobytes()), samples
