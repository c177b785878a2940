"""GIF: moving pictures for places that take nothing else; 256 colours a frame. https://www.w3.org/Graphics/GIF/spec-gif89a.txt

Pillow compresses each frame, where it was drawn; only the film is put together here, so that it can be sent as it is made.
"""

import io
import struct
from dataclasses import dataclass

from app.codecs.picture import Picture

EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, 0x3B
HAS_PALETTE = 0x80
KEEP = 1 << 2  # disposal method: the next frame is drawn over this one
LOOP_FOR_EVER = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


@dataclass(frozen=True)
class Frame:
    """One compressed picture."""

    width: int
    height: int
    palette: bytes  # 3 bytes a colour
    data: bytes  # LZW, with its code size in front and its terminator behind
    comment: str


def frame(picture: Picture) -> Frame:
    """Compresses one picture."""
    image = picture.image().convert("L" if picture.pixels.shape[2] <= 2 else "RGB")
    out = io.BytesIO()
    image.save(out, "GIF", interlace=False)  # rows in their order: Pillow would mix those of larger pictures
    palette, data = _parts(out.getvalue())
    return Frame(image.width, image.height, palette, data, picture.provenance.line())


class Film:
    """Frames as a film that repeats for ever. Times are whole 1/100 s, and players show no frame for less than 2 of them."""

    def __init__(self, count: int, fps: int) -> None:
        del count  # a GIF need not know how long it will be
        self._fps = fps
        self._frames = 0
        self._end = 0  # of the last frame, in 1/100 s

    def add(self, frame: Frame) -> bytes:
        """The bytes of the next frame; before the first one, those of the file's beginning."""
        begin = b"" if self._frames else _head(frame)
        self._frames += 1
        end = max(2 * self._frames, round(100 * self._frames / self._fps))
        delay, self._end = end - self._end, end
        control = struct.pack("<BBBBHBB", EXTENSION, 0xF9, 4, KEEP, delay, 0, 0)
        colours = len(frame.palette) // 3
        flags = HAS_PALETTE | (colours.bit_length() - 2)  # 2 ** (n + 1) colours
        descriptor = struct.pack("<BHHHHB", IMAGE, 0, 0, frame.width, frame.height, flags)
        return begin + control + descriptor + frame.palette + frame.data

    def end(self) -> bytes:
        """The last byte."""
        return bytes([TRAILER])


def _head(first: Frame) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", first.width, first.height, 0x70, 0, 0)  # eight bits a colour, no palette for all
    comment = first.comment.encode("utf-8")[:255]
    return screen + LOOP_FOR_EVER + bytes([EXTENSION, 0xFE, len(comment)]) + comment + b"\0"


def _parts(gif: bytes) -> tuple[bytes, bytes]:
    """The palette and the compressed data of a GIF's only picture."""
    flags, at = gif[10], 13
    palette = b""
    if flags & HAS_PALETTE:
        size = 3 * 2 ** ((flags & 7) + 1)
        palette, at = gif[at : at + size], at + size
    while gif[at] == EXTENSION:
        at = _after_blocks(gif, at + 2)
    flags, at = gif[at + 9], at + 10
    if flags & HAS_PALETTE:
        size = 3 * 2 ** ((flags & 7) + 1)
        palette, at = gif[at : at + size], at + size
    return palette, gif[at : _after_blocks(gif, at + 1)]


def _after_blocks(gif: bytes, at: int) -> int:
    """Where a chain of sub-blocks, each with its length in front, ends."""
    while gif[at]:
        at += gif[at] + 1
    return at + 1
