"""PNG: without texts and animation, with every checksum checked. https://www.w3.org/TR/png-3/"""

import struct
import zlib

from isal import isal_zlib
from isal.igzip_lib import IsalError

from app.codecs.png import SIGNATURE, chunk
from app.codecs.sieves import MAX_PROFILE_BYTES, Check, DamagedError, Sieved

MAX_CHUNKS = 2**15  # a quarter of a gigabyte in the 8 KiB each that libpng writes
CRITICAL = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})  # what pixels can't do without
KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf"})
GREY, RGB, PALETTE = 0, 2, 3
DEPTHS = frozenset({1, 2, 4, 8, 16})
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, 4: 2, 6: 4}  # by colour type
WHOLE = ((0, 0, 1, 1),)  # first column and row, and the steps to the next
INTERLACED = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
HEADER_BYTES = 13
STEP = 2**18


def sieve(data: bytes, check: Check) -> Sieved:
    """Any PNG; of animations the default image. Raises DamagedError or struct.error."""
    view = memoryview(data)
    found: dict[bytes, bytes] = {}
    pixels = bytearray()
    size = (0, 0)
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        start, at = at, at + 12 + length
        if at > len(data):
            raise DamagedError("is cut off")
        (checksum,) = struct.unpack_from(">I", data, at - 4)
        sound = isal_zlib.crc32(view[start + 4 : at - 4]) == checksum
        if kind in CRITICAL and not sound:
            raise DamagedError(f"is damaged: the checksum of {kind.decode()} is wrong")
        if not found:
            size = _size(kind, data[start + 8 : at - 4], check)
        if kind == b"IEND":
            return _still(size, found, bytes(pixels))
        if kind == b"IDAT":
            pixels += view[start + 8 : at - 4]
        elif kind in KEPT and sound:
            found.setdefault(kind, data[start + 8 : at - 4])
    raise DamagedError(f"has more than {MAX_CHUNKS} parts")


def _size(kind: bytes, header: bytes, check: Check) -> tuple[int, int]:
    if kind != b"IHDR" or len(header) != HEADER_BYTES:
        raise DamagedError("does not begin with a header")
    width, height = struct.unpack_from(">II", header)
    check(width, height)
    return width, height


def _still(size: tuple[int, int], found: dict[bytes, bytes], pixels: bytes) -> Sieved:
    header, palette, transparency = found[b"IHDR"], found.get(b"PLTE"), found.get(b"tRNS")
    depth, colours, interlaced = header[8], header[9], header[12]
    if depth not in DEPTHS or colours not in SAMPLES or (colours == PALETTE and not palette):
        raise DamagedError("has no palette, or colours of no known kind")
    _check_inflated(pixels, _inflated_bytes(size, depth * SAMPLES[colours], INTERLACED if interlaced else WHOLE))
    kept = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    transparent: tuple[int, ...] = ()
    if colours == PALETTE:
        kept[1:1] = [(kind, found[kind]) for kind in (b"PLTE", b"tRNS") if kind in found]
    elif colours in (GREY, RGB) and transparency:
        # read here: Pillow forgets that samples below 8 bits are scaled up, and those of 16 bits down
        scale = 255 // (2**depth - 1) if depth < 8 else 1
        transparent = tuple(v * scale for v in struct.unpack_from(f">{SAMPLES[colours]}H", transparency))
    data = SIGNATURE + b"".join(chunk(kind, body) for kind, body in kept)
    return Sieved(size, data, found.get(b"eXIf", b""), _profile(found.get(b"iCCP", b"")), transparent)


def _inflated_bytes(size: tuple[int, int], bits: int, passes: tuple[tuple[int, int, int, int], ...]) -> int:
    """Of all rows, of which each has a byte for its filter; a pass without columns has no rows."""
    width, height = size
    shapes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in passes if x < width and y < height]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in shapes)


def _check_inflated(data: bytes, length: int) -> None:
    """Whether a deflate stream holds so many bytes. Where it ends early, Pillow leaves the rest black and says nothing."""
    stream, left = isal_zlib.decompressobj(), length
    try:
        for at in range(0, len(data), STEP):
            piece = data[at : at + STEP]
            while True:
                inflated = len(stream.decompress(piece, STEP))
                left -= inflated
                if left <= 0:
                    return
                piece = stream.unconsumed_tail
                if not piece and inflated < STEP:  # a full step may have left some behind
                    break
            if stream.eof:
                break
    except IsalError as error:  # type: ignore[misc]  # an exception class, whatever its stub says
        raise DamagedError("is damaged: its pixels can't be unpacked") from error
    raise DamagedError(f"is cut off: {left} of {length} bytes of its pixels are missing")


def _profile(body: bytes) -> bytes:
    """Out of an iCCP chunk: a name, a zero, the method, then deflated; nothing if it is damaged or too large."""
    deflated = body.partition(b"\0")[2][1:]
    try:
        profile = zlib.decompressobj().decompress(deflated, MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return b""
    return profile if len(profile) <= MAX_PROFILE_BYTES else b""
