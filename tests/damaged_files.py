"""Picture files with something wrong with them, at random."""

import random

import numpy as np
from picture_files import (
    png_chunk,
    saved,
    table_profile,
    wide_profile,
)
from picture_kinds import KINDS, colours
from PIL import Image


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
