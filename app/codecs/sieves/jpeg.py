"""JPEG: without what its application segments hold, and what follows the picture: phones append films and further pictures.

The data of the pixels has no checksum. Where some of it is lost and the end is there, libjpeg fills in and says nothing.
https://www.w3.org/Graphics/JPEG/itu-t81.pdf
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from app.codecs.sieves import MAX_PARTS, Check, DamagedError, Sieved

SOI, EOI, SOS, TEM, COM = 0xD8, 0xD9, 0xDA, 0x01, 0xFE
APP0, APP1, APP2, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # headers of the lossy kinds, by Huffman and by arithmetic coding
OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xDE})
MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)  # not an escaped 255, a restart or padding
JFIF, EXIF, ICC, ADOBE = b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe"
MAX_SCANS = 32  # encoders write about ten, and each is a pass over all pixels, however few its bytes


@dataclass(frozen=True)
class Segment:
    """`data[start:end]`, with its marker; `body` is what follows the length."""

    code: int
    start: int
    end: int
    body: bytes


def sieve(data: bytes, check: Check) -> Sieved:
    """A baseline or progressive JPEG. Raises DamagedError or struct.error."""
    kept, exif, profile = [data[:2]], b"", dict[bytes, bytes]()
    size: tuple[int, int] | None = None
    scans, first_scan = 0, 0
    for part in _segments(data):
        if part.code == EOI:
            kept.append(data[first_scan : part.end])
        elif part.code == SOS:
            scans += 1
            first_scan = first_scan or part.start
            if scans > MAX_SCANS:
                raise DamagedError(f"has more than {MAX_SCANS} scans")
        elif scans:
            continue  # tables between scans are copied with them
        elif part.code in FRAMES | OTHER_FRAMES:
            size = _size(part, size, check)
            kept.append(data[part.start : part.end])
        elif _is_needed(part):
            kept.append(data[part.start : part.end])
        elif part.code == APP1 and part.body.startswith(EXIF):
            exif = exif or part.body
        elif part.code == APP2 and part.body.startswith(ICC):
            number = slice(len(ICC), len(ICC) + 2)
            profile[part.body[number]] = part.body[number.stop :]
    if size is None or not scans:
        raise DamagedError("holds no picture")
    return Sieved(size, b"".join(kept), exif, _joined(profile))


def _segments(data: bytes) -> Iterator[Segment]:
    """All to the end of the picture, which is the last. Raises DamagedError or struct.error where it is missing."""
    at = 2
    for _ in range(MAX_PARTS):
        marker = MARKER.search(data, at)
        if marker is None:
            raise DamagedError("is cut off")
        code, start, at = marker[1][0], marker.start(), marker.end()
        if code == EOI:
            yield Segment(code, start, at, b"")
            return
        if code in (SOI, TEM):
            continue  # they stand alone
        (length,) = struct.unpack_from(">H", data, at)
        end = at + length
        if length < 2 or end > len(data):
            raise DamagedError("is cut off")
        yield Segment(code, start, end, data[at + 2 : end])
        at = end
    raise DamagedError(f"has more than {MAX_PARTS} parts")


def _size(header: Segment, before: tuple[int, int] | None, check: Check) -> tuple[int, int]:
    if header.code in OTHER_FRAMES or before is not None:
        raise DamagedError("is lossless or hierarchical, which is not read")
    height, width = struct.unpack_from(">HH", header.body, 1)
    check(width, height)
    return width, height


def _is_needed(part: Segment) -> bool:
    """Whether it is a table; or one of the two segments of applications that tell how colours are stored."""
    if APP0 <= part.code <= APP15:
        return (part.code == APP0 and part.body.startswith(JFIF)) or (part.code == APP14 and part.body.startswith(ADOBE))
    return part.code != COM


def _joined(parts: dict[bytes, bytes]) -> bytes:
    """A profile that came in parts, by number and count; nothing if one is missing, as pixels can do without."""
    numbers = [bytes((i + 1, len(parts) & 0xFF)) for i in range(len(parts) & 0xFF)]
    return b"".join(parts[n] for n in numbers) if parts.keys() == set(numbers) else b""
