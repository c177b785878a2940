"""Uploaded files, reduced to what their pixels need, before a decoder sees them. One module a format.

Decoders trust what a file says of itself. Pillow reads every text, comment and tag, and lays out the canvas of an animation,
before it tells how large the picture is; parts of that it does byte by byte. So each file is walked here first, in a bounded
number of steps: its size is checked before anything is copied, a file that is cut off is refused, and only the header, the
tables and the pixels of the first frame go on. What is not there can't be counted, can't warn and can't do harm.

Each module has `sieve(data, check)`, which raises DamagedError, or struct.error or IndexError where the file ends too early.
"""

from collections.abc import Callable
from dataclasses import dataclass

Check = Callable[[int, int], None]  # takes a width and a height, and raises where they can't be

MAX_PARTS = 2**12  # segments of JPEG, chunks of WebP, tags of TIFF: cameras write some hundred
MAX_PROFILE_BYTES = 4 * 2**20  # colour profiles of printers reach 3 MB


class DamagedError(Exception):
    """The file is not what its format asks for, or of a kind that is not read; the text goes on from "the file"."""


@dataclass(frozen=True)
class Sieved:
    """What is left of a file.

    `data`: a file of the same format that holds one picture of `size` (width, height), and no metadata. `exif`: a TIFF
    directory that may have the orientation. `profile`: the colour profile, unread. `transparent`: the colour of transparent
    pixels, in samples as large as the file's, or 8 bits where those have less. `white_is_zero`: 16-bit grey is inverted.
    """

    size: tuple[int, int]
    data: bytes
    exif: bytes = b""
    profile: bytes = b""
    transparent: tuple[int, ...] = ()
    white_is_zero: bool = False
