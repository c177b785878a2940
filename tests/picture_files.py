"""Picture files that Pillow does not write: 16-bit colour, interlaced, tiled, hostile. Written from the specifications."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Array = NDArray[np.integer]
Values = Sequence[int] | bytes

PNG_START = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
BYTE, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 3, 4, 5, 7, 16  # types of TIFF
LETTERS = {SHORT: "H", LONG: "L", LONG8: "Q"}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """By Pillow."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(
    samples: Array,
    depth: int = 8,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    colour_type: int | None = None,
    size: tuple[int, int] | None = None,
    pixels: bytes | None = None,
) -> bytes:
    """Samples (H, W, C); `before` are chunks between header and pixels. `size` and `pixels` replace what they would be."""
    height, width, channels = samples.shape
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    raw = b"".join(png_rows(samples[y::dy, x::dx], depth) for x, y, dx, dy in passes)
    kind = COLOUR_TYPES[channels] if colour_type is None else colour_type
    header = struct.pack(">IIBBBBB", *(size or (width, height)), depth, kind, 0, 0, interlaced)
    data = zlib.compress(raw) if pixels is None else pixels
    return PNG_START + png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_rows(samples: Array, depth: int) -> bytes:
    """Rows without a filter, samples packed."""
    if not samples.size:
        return b""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = rows.astype(np.uint8)
    else:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)
    return np.concatenate([np.zeros((len(rows), 1), np.uint8), packed], axis=1).tobytes()


def tiff_file(
    tags: Mapping[int, tuple[int, Values]], strips: Sequence[bytes], *, order: str = "<", big: bool = False, tiled: bool = False
) -> bytes:
    """Strips (or tiles) behind the header, then what does not fit into the directory, which is last."""
    word, letter = (8, "Q") if big else (4, "L")
    out = bytearray(2 * word)
    offsets = []
    for strip in strips:
        offsets.append(len(out))
        out += strip
    at, count = (324, 325) if tiled else (273, 279)
    own = {at: (LONG, offsets), count: (LONG, [len(s) for s in strips])}
    entries = b""
    everything = {**own, **tags}
    for tag, (kind, values) in sorted(everything.items()):
        data = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{LETTERS[kind]}", *values)
        number = len(data) // 8 if kind == RATIONAL else len(values)
        place = data.ljust(word, b"\0")
        if len(data) > word:
            place = struct.pack(order + letter, len(out))
            out += data
        entries += struct.pack(f"{order}HH{letter}", tag, kind, number) + place
    start = struct.pack(order + "H", 43 if big else 42) + (struct.pack(order + "HH", 8, 0) if big else b"")
    out[: 2 * word] = (b"II" if order == "<" else b"MM") + start + struct.pack(order + letter, len(out))
    return bytes(out) + struct.pack(order + ("Q" if big else "H"), len(everything)) + entries + bytes(word)


def tiff_tags(width: int, height: int, bits: Sequence[int], photometric: int, **more: int) -> dict[int, tuple[int, Values]]:
    """Of an uncompressed picture; `more`: other short numbers, by name `t` and number."""
    tags: dict[int, tuple[int, Values]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, bits),
        262: (SHORT, [photometric]),
        277: (SHORT, [len(bits)]),
    }
    return tags | {int(name[1:]): (SHORT, [value]) for name, value in more.items()}


def exif(orientation: int, order: str = "<") -> bytes:
    """A TIFF with one tag."""
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)
    return start + struct.pack(order + "HHHLHHL", 1, 274, SHORT, 1, orientation, 0, 0)


def gif_file(frames: int, size: tuple[int, int] = (1, 1), screen: tuple[int, int] | None = None) -> bytes:
    """Greys, and as many frames as asked for, each of which asks to be disposed of."""
    still = saved(Image.new("L", size, 99), "GIF")
    start = still.rindex(b"\x2c\0\0\0\0")
    frame = b"\x21\xf9\x04\x08\x01\0\0\0" + still[start:-1]
    return b"GIF89a" + struct.pack("<HH", *(screen or size)) + still[10:start] + frame * frames + b";"


def bmp_file(width: int, height: int, bits: int = 24, pixels: bytes = b"", compression: int = 0, header: int = 40) -> bytes:
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + info + pixels


def webp_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp_file(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile_tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    found = {}
    for i in range(count):
        name, at, length = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        found[name] = profile[at : at + length]
    return found


def profile(tags: Mapping[bytes, bytes], space: bytes = b"RGB ", between: bytes = b"XYZ ", of: bytes = b"mntr") -> bytes:
    """A colour profile with these tags, and sRGB's header."""
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    header = bytearray(srgb_profile()[:128])
    header[12:24] = of + space + between
    header[:4] = struct.pack(">I", start + len(body))
    return bytes(header) + struct.pack(">I", len(tags)) + table + body


def swapped_profile() -> bytes:
    """sRGB whose red is green, and whose green is red."""
    tags = profile_tags(srgb_profile())
    return profile({**tags, b"rXYZ": tags[b"gXYZ"], b"gXYZ": tags[b"rXYZ"]})


def wide_profile() -> bytes:
    """The primaries of Display P3, adapted to D50, with the curve of sRGB."""
    tags = profile_tags(srgb_profile())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    xyz = {k: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(c * 65536) for c in v)) for k, v in primaries.items()}
    return profile({**tags, **xyz})


def grey_profile(gamma: float) -> bytes:
    tags = profile_tags(srgb_profile())
    curve = b"para" + bytes(8) + struct.pack(">i", round(gamma * 65536))
    return profile({b"wtpt": tags[b"wtpt"], b"kTRC": curve}, b"GRAY")


def table_profile(points: int, table: bytes, space: bytes = b"CMYK", inputs: int = 4) -> bytes:
    """Of a printer: a table of `points` a side, to Lab with 8 bits."""
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    tag = b"mft1" + bytes(4) + bytes([inputs, 3, points, 0]) + matrix + identity * inputs + table + identity * 3
    return profile({b"A2B0": tag}, space, b"Lab ", b"prtr")


def chain(elements: int) -> bytes:
    """A tag of that many matrices, all of them the same bytes."""
    matrix = b"matf" + bytes(4) + struct.pack(">HH12f", 3, 3, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    places = struct.pack(">II", 16 + 8 * elements, len(matrix)) * elements
    return b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, elements) + places + matrix
