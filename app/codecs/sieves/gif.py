"""GIF: its first frame. The others are neither read nor counted. https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""

import struct
from collections.abc import Iterator

from app.codecs.gif import EXTENSION, HAS_PALETTE, IMAGE, TRAILER
from app.codecs.sieves import Check, DamagedError, Sieved

MAX_BLOCKS = 2**18  # of 255 bytes, where the encoder is not wasteful
CONTROL = b"\xf9\x04"  # the extension with transparency and timing, and its length
TRANSPARENCY = 1


def sieve(data: bytes, check: Check) -> Sieved:
    """Any GIF. Raises DamagedError, struct.error or IndexError."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    check(width, height)
    at = 13 + _palette_bytes(flags)
    header, control = data[:at], b""
    blocks = iter(range(MAX_BLOCKS))
    while data[at] == EXTENSION:
        if data[at + 1 : at + 3] == CONTROL:
            # without how to dispose of the frame: Pillow would lay out another canvas for that
            control = bytes((EXTENSION, *CONTROL, data[at + 3] & TRANSPARENCY, 0, 0, data[at + 6], 0))
        at = _after_blocks(data, at + 2, blocks)
    if data[at] != IMAGE:
        raise DamagedError("holds no picture")
    left, top, columns, rows, flags = struct.unpack_from("<4HB", data, at + 1)
    check(columns, rows)
    size = (max(width, left + columns), max(height, top + rows))  # some frames reach out of the screen, and Pillow follows
    check(*size)
    end = _after_blocks(data, at + 11 + _palette_bytes(flags), blocks)
    return Sieved(size, b"".join([header, control, data[at:end], bytes([TRAILER])]))


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & HAS_PALETTE else 0


def _after_blocks(data: bytes, at: int, blocks: Iterator[int]) -> int:
    """Where a chain of blocks ends, each of which begins with its length; the last is empty."""
    for _ in blocks:
        if not data[at]:
            return at + 1
        at += data[at] + 1
    raise DamagedError(f"has more than {MAX_BLOCKS} parts")
