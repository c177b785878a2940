"""WebP: the picture, or an animation of its first frame alone. https://developers.google.com/speed/webp/docs/riff_container"""

import struct

from app.codecs.sieves import MAX_PARTS, Check, DamagedError, Sieved

HAS_ALPHA, IS_ANIMATED = 0x10, 0x02
LOSSY_START, LOSSLESS_START = b"\x9d\x01\x2a", b"\x2f"
SIDE_BITS = 14


def sieve(data: bytes, check: Check) -> Sieved:
    """Any WebP. Raises DamagedError or struct.error."""
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise DamagedError(f"is cut off: {end - len(data)} of {end} bytes are missing")
    found: dict[bytes, bytes] = {}
    size, at = (0, 0), 12
    for _ in range(MAX_PARTS):
        if at >= end:
            return _still(size, found)
        kind, length = struct.unpack_from("<4sI", data, at)
        start, at = at + 8, at + 8 + length
        if at > end:
            raise DamagedError("is cut off")
        if not found:
            size = _size(kind, data[start : start + 10])
            check(*size)
        found.setdefault(kind, data[start:at])
        at += length % 2  # padding
    raise DamagedError(f"has more than {MAX_PARTS} parts")


def _size(kind: bytes, start: bytes) -> tuple[int, int]:
    """Of the canvas, or of the only picture, from the start of the first chunk."""
    if kind == b"VP8X":
        return int.from_bytes(start[4:7], "little") + 1, int.from_bytes(start[7:10], "little") + 1
    mask = 2**SIDE_BITS - 1
    if kind == b"VP8 " and start[3:6] == LOSSY_START:
        width, height = struct.unpack_from("<HH", start, 6)
        return width & mask, height & mask
    if kind == b"VP8L" and start[:1] == LOSSLESS_START:
        (bits,) = struct.unpack_from("<I", start, 1)
        return (bits & mask) + 1, (bits >> SIDE_BITS & mask) + 1
    raise DamagedError("does not begin with a header")


def _still(size: tuple[int, int], found: dict[bytes, bytes]) -> Sieved:
    extended = found.get(b"VP8X")
    animated = extended is not None and extended[0] & IS_ANIMATED
    if extended is not None:
        found[b"VP8X"] = bytes((extended[0] & (HAS_ALPHA | IS_ANIMATED), *extended[1:10]))
    kinds = (b"VP8X", b"ANIM", b"ANMF") if animated else (b"VP8X", b"ALPH", b"VP8 ", b"VP8L")
    chunks = [(kind, found[kind]) for kind in kinds if kind in found]
    body = b"".join(struct.pack("<4sI", kind, len(d)) + d + bytes(len(d) % 2) for kind, d in chunks)
    data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    return Sieved(size, data, found.get(b"EXIF", b""), found.get(b"ICCP", b""))
