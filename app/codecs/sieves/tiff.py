"""TIFF: its directories, which EXIF has too; and the picture alone, with the tags that its pixels need.

Tags are the danger here. Any of them can hold as many numbers as the file has bytes, several can share the same bytes, and
Pillow makes objects of them all; strips can overlap, so that few bytes are unpacked many times.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.codecs.sieves import MAX_PARTS, MAX_PROFILE_BYTES, Check, DamagedError, Sieved

ORIENTATION, PROFILE = 274, 34675
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES = 256, 257, 258, 259, 262, 277, 284
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
SUBSAMPLING, JPEG_TABLES, FORMATS = 530, 347, 339
# besides: bit order, fax options, predictor, palette, extra samples, and what YCbCr means
ONE_NUMBER = (WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, 266, SAMPLES, PLANES, 292, 293, 317, 531)
SOME_NUMBERS = (BITS, 320, 338, FORMATS, JPEG_TABLES, 529, SUBSAMPLING, 532)
STRIPS = (STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS)
TILES = (TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS)

UNCOMPRESSED = 1
# none, fax (3), LZW, JPEG, deflate, run lengths, deflate by its old number; not those whose decoders set no limits
COMPRESSIONS = frozenset({UNCOMPRESSED, 2, 3, 4, 5, 7, 8, 32773, 32946})
WHITE_IS_ZERO, RGB, CMYK, YCBCR = 0, 2, 5, 6
SEPARATE = 2  # planes
DEPTHS = frozenset({1, 2, 4, 8, 16, 32})
MAX_SAMPLES = 6
MAX_STRIPS = 2**16
MAX_NUMBERS = 2**10  # a palette has 768
MAX_TABLE_BYTES = 2**16
MAX_TILE_PX = 2**22  # 2048 x 2048: one is unpacked whole, however small the picture
ALL_ROWS = 2**32 - 1

LETTERS = {1: "B", 3: "H", 4: "L", 16: "Q"}  # of whole numbers, for struct
UNIT_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}


@dataclass(frozen=True)
class Tag:
    """`count` values of a type, which begin at `at`; `entry`: as it stands in the directory."""

    kind: int
    count: int
    at: int
    entry: bytes

    @property
    def end(self) -> int:
        return self.at + self.count * UNIT_BYTES[self.kind]


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF, and how its numbers are written. Of tags that come twice, the first counts."""

    data: bytes
    order: str
    big: bool
    tags: dict[int, Tag]

    @property
    def byteorder(self) -> Literal["little", "big"]:
        return "little" if self.order == "<" else "big"

    def numbers(self, number: int, limit: int = MAX_NUMBERS) -> tuple[int, ...]:
        """The values of a tag; none if it is missing. Raises DamagedError if they are not whole, too many or not there."""
        tag = self.tags.get(number)
        if tag is None:
            return ()
        if tag.kind not in LETTERS or not 0 < tag.count <= limit or tag.end > len(self.data):
            raise DamagedError(f"is damaged: its tag {number} can't be read")
        return struct.unpack_from(f"{self.order}{tag.count}{LETTERS[tag.kind]}", self.data, tag.at)

    def number(self, number: int, otherwise: int) -> int:
        """The value of a tag of one. Raises DamagedError."""
        return (self.numbers(number, 1) or (otherwise,))[0]

    def raw(self, number: int, limit: int) -> bytes:
        """The bytes of a tag; none if it is missing, too large or not there."""
        tag = self.tags.get(number)
        return b"" if tag is None or tag.end > len(self.data) or tag.end - tag.at > limit else self.data[tag.at : tag.end]


def directory(data: bytes) -> Directory:
    """The first directory. Raises DamagedError or struct.error."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    if not order or data[2:4] not in (struct.pack(order + "H", 42), struct.pack(order + "H", 43)):
        raise DamagedError("does not begin with a header")
    big = 43 in data[2:4]
    count_as, entry_as = (order + "Q", order + "HHQ") if big else (order + "H", order + "HHL")
    word = 8 if big else 4
    (at,) = struct.unpack_from(order + ("Q" if big else "L"), data, word)
    if at > len(data):
        raise DamagedError("is cut off")
    (count,) = struct.unpack_from(count_as, data, at)
    if count > MAX_PARTS:
        raise DamagedError(f"has {count} tags, and at most {MAX_PARTS} are read")
    at += struct.calcsize(count_as)
    head = struct.calcsize(entry_as)
    tags: dict[int, Tag] = {}
    for i in range(at, at + count * (head + word), head + word):
        number, kind, length = struct.unpack_from(entry_as, data, i)
        if kind not in UNIT_BYTES or number in tags:
            continue
        (where,) = struct.unpack_from(order + ("Q" if big else "L"), data, i + head)
        inline = length * UNIT_BYTES[kind] <= word
        tags[number] = Tag(kind, length, i + head if inline else where, data[i : i + head + word])
    return Directory(data, order, big, tags)


def orientation(exif: bytes) -> int:
    """How a picture has to be turned, 1 to 8 as EXIF counts; 1 (not at all) where it doesn't say, or nothing sensible."""
    try:
        turned = directory(exif.removeprefix(b"Exif\0\0")).number(ORIENTATION, 1)
    except (DamagedError, struct.error):
        return 1
    return turned if 1 <= turned <= 8 else 1


def sieve(data: bytes, check: Check) -> Sieved:
    """The first picture. Raises DamagedError or struct.error."""
    found = directory(data)
    if found.big and found.byteorder == "big":
        raise DamagedError("is a BigTIFF of big-endian numbers, which is not read")  # Pillow takes it for a small one
    size = found.number(WIDTH, 0), found.number(HEIGHT, 0)
    check(*size)
    for number in ONE_NUMBER:
        found.number(number, 0)
    for number in SOME_NUMBERS:
        tag = found.tags.get(number)
        if tag and not found.raw(number, MAX_TABLE_BYTES):
            raise DamagedError(f"is damaged: its tag {number} can't be read")
    _check_strips(found, *size)
    inverted = found.number(PHOTOMETRIC, WHITE_IS_ZERO) == WHITE_IS_ZERO
    profile = found.raw(PROFILE, MAX_PROFILE_BYTES)
    return Sieved(size, _still(found), data, profile, white_is_zero=inverted)


def _still(found: Directory) -> bytes:
    """The file with another directory at its end, which has the wanted tags, as they are, and no successor."""
    wanted = {*ONE_NUMBER, *SOME_NUMBERS, *(STRIPS if STRIP_OFFSETS in found.tags else TILES)}
    if found.number(SAMPLES, 1) == 1:
        wanted.remove(PLANES)  # says nothing then, and misleads Pillow
    if found.number(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED:
        wanted -= {STRIP_COUNTS, TILE_COUNTS}  # follow from the size, and are often wrong
    tags = [tag for number, tag in sorted(found.tags.items()) if number in wanted]
    if sum(tag.end - tag.at for tag in tags) > len(found.data):
        raise DamagedError("is damaged: its tags overlap")
    word, count_as = (8, "Q") if found.big else (4, "H")
    padding = len(found.data) % 2  # directories begin at even bytes
    offset = (len(found.data) + padding).to_bytes(word, found.byteorder)
    count = struct.pack(found.order + count_as, len(tags))
    return b"".join(
        [found.data[:word], offset, found.data[2 * word :], bytes(padding), count, *(tag.entry for tag in tags), bytes(word)]
    )


def _check_strips(found: Directory, width: int, height: int) -> None:
    """Whether all pixels are there, once, in strips or tiles that fit memory. Raises DamagedError."""
    samples, bits = found.number(SAMPLES, 1), found.numbers(BITS) or (1,)
    compression = found.number(COMPRESSION, UNCOMPRESSED)
    if samples > MAX_SAMPLES or not DEPTHS.issuperset(bits):
        raise DamagedError(f"has {samples} samples of {max(bits)} bits a pixel, which are not read")
    if compression not in COMPRESSIONS:
        raise DamagedError("is compressed in a way that is not read")
    tiled = STRIP_OFFSETS not in found.tags
    offsets = found.numbers(TILE_OFFSETS if tiled else STRIP_OFFSETS, MAX_STRIPS)
    columns = found.number(TILE_WIDTH, 0) if tiled else width
    rows = found.number(TILE_HEIGHT, 0) if tiled else min(height, found.number(ROWS_PER_STRIP, ALL_ROWS))
    if not columns or not rows or (tiled and columns * rows > MAX_TILE_PX):
        raise DamagedError(f"has strips or tiles of {columns}x{rows} px")
    planes = samples if found.number(PLANES, 1) == SEPARATE else 1
    photometric = found.number(PHOTOMETRIC, WHITE_IS_ZERO)
    if planes > 1 and (photometric not in (RGB, CMYK) or (compression == UNCOMPRESSED and bits[0] != 8)):
        raise DamagedError("has its channels apart in a way that is not read")  # Pillow would mistake them
    down = -(-height // rows)
    if len(offsets) != planes * down * -(-width // columns):
        raise DamagedError(f"is cut off: it has {len(offsets)} strips or tiles, which is not what its size asks for")
    if compression == UNCOMPRESSED:
        if photometric == YCBCR and found.numbers(SUBSAMPLING) != (1, 1):
            raise DamagedError("has subsampled colours, which are read in compressed files only")
        row_bytes = -(-columns * bits[0] * (1 if planes > 1 else samples) // 8)
        last_rows = rows if tiled else (height - 1) % rows + 1  # tiles are whole, the last strip need not be
        lengths: Sequence[int] = [row_bytes * (rows if (i + 1) % down else last_rows) for i in range(len(offsets))]
    else:
        lengths = found.numbers(TILE_COUNTS if tiled else STRIP_COUNTS, MAX_STRIPS)
        if len(lengths) != len(offsets):
            raise DamagedError("is damaged: its strips have no lengths")
    _check_places(offsets, lengths, len(found.data))


def _check_places(offsets: Sequence[int], lengths: Sequence[int], size: int) -> None:
    """Whether all strips are in a file of that size, and none on another. Raises DamagedError."""
    if sum(lengths) > size:
        raise DamagedError("is cut off, or its strips overlap")
    end = 0
    for at, length in sorted(zip(offsets, lengths, strict=True)):
        if at < end:
            raise DamagedError("is damaged: its strips overlap")
        end = at + length
    if end > size:
        raise DamagedError(f"is cut off: {end - size} bytes of its pixels are missing")
