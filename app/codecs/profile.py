"""Colour profiles (ICC) of uploaded pictures, applied: pixels → sRGB. https://www.color.org/specification/ICC.1-2022-05.pdf

Profiles are programs of a kind, and as untrusted as the pictures. Two things in them cost more than their size: tables whose
declared dimensions are reserved before they are found to be missing, and chains of any number of elements (the D2B tags,
which are optional beside others). Profiles with the former are not used; the latter are hidden.
"""

import io
import math
import struct

import numpy as np
from PIL import Image, ImageCms

from app.codecs.sieves import MAX_PROFILE_BYTES

SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
CLASSES = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})  # of devices and spaces; not of links, effects or named colours
HEADER_BYTES = 128
MAX_TAGS = 100  # as the library
TABLE = {b"mft1": 1, b"mft2": 2}  # bytes a number of the older kinds of table
TOLERANCE = 1  # of 255; a profile that moves no colour further is that of sRGB
STEP = 17


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """L, RGB or CMYK → L or RGB, by relative colorimetry. As it is, or converted without a profile, where that is of no use."""
    plain = image.convert("RGB") if image.mode == "CMYK" else image
    usable = _usable(profile, SPACES[image.mode]) if profile else b""
    if not usable:
        return plain
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(usable)),
            ImageCms.createProfile("sRGB"),
            image.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        if image.mode != "CMYK" and _moves_nothing(transform, image.mode):
            return plain
        converted = transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, RuntimeError):
        return plain  # the pixels are what counts
    return converted.getchannel("G") if image.mode == "L" else converted


def _moves_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether colours all over the cube stay where they are: then so do pixels, to the last bit, and it takes no time."""
    steps = np.arange(0, 256, 1 if mode == "L" else STEP, dtype=np.uint8)
    colours = steps[:, None] if mode == "L" else np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    probe = Image.frombytes(mode, (len(colours), 1), colours.tobytes())
    moved = np.asarray(transform.apply(probe), dtype=np.int16)[0] - colours
    return int(np.abs(moved).max()) <= TOLERANCE


def _usable(profile: bytes, space: bytes) -> bytes:
    """The profile without elements of unbounded number; nothing if it is not for that space, or asks for what it lacks."""
    if len(profile) > MAX_PROFILE_BYTES:
        return b""
    try:
        (count,) = struct.unpack_from(">I", profile, HEADER_BYTES)
        fits = profile[12:16] in CLASSES and profile[16:20] == space and profile[36:40] == b"acsp" and count <= MAX_TAGS
        if not fits:
            return b""
        kept = bytearray(profile)
        for i in range(count):
            entry = HEADER_BYTES + 4 + 12 * i
            name, at, length = struct.unpack_from(">4sII", profile, entry)
            if name.startswith(b"D2B"):
                kept[entry : entry + 4] = b"hid" + bytes([i])  # a name of its own, as none may come twice
            elif name.startswith(b"A2B") and not _has_its_table(profile[at : at + length]):
                return b""
    except struct.error:
        return b""
    return bytes(kept)


def _has_its_table(tag: bytes) -> bool:
    """Whether a tag from device to colour is as large as the table that it declares."""
    if tag[:4] in TABLE:
        inputs, outputs, points = struct.unpack_from("3B", tag, 8)
        return bool(outputs * points**inputs * TABLE[tag[:4]] <= len(tag))
    if tag[:4] != b"mAB ":
        return False
    inputs, outputs, at = struct.unpack_from(">2B14xI", tag, 8)
    if not at:
        return True  # curves and a matrix, without a table
    width = struct.unpack_from("B", tag, at + 16)[0]
    return bool(math.prod(tag[at : at + inputs]) * outputs * width <= len(tag))
