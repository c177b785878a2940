"""Pictures as bytes. One table; each codec is pure functions of arrays, safe to run in any thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.codecs import gif, jpeg, npy, png, webp, zipped
from app.codecs.picture import Picture

Still = Callable[[Sequence[Any]], bytes]
Moving = Callable[[Sequence[Any], int], bytes]  # and frames a second


class Writer(Protocol):
    """A body that is written front to back, a picture at a time."""

    def add(self, piece: Any) -> bytes:
        """The bytes that the next picture adds."""

    def end(self) -> bytes:
        """The bytes behind the last one."""


def as_it_is(picture: Picture) -> Picture:
    """For formats that need all pictures at once."""
    return picture


@dataclass(frozen=True)
class Codec:
    """One output format. `still` takes separate pictures, `moving` the frames of a film; None: it can't.

    Both take what `each` made of every picture, which can be done for one while the next is drawn. So does `writer`, which is
    called with the number of pictures and the frames a second: the same bytes, as they come. None: the format has to see all.
    """

    name: str
    media_type: str
    extension: str
    still: Still | None
    moving: Moving | None
    each: Callable[[Picture], Any] = as_it_is
    writer: Callable[[int, int], Writer] | None = None


def frame_by_frame(still: Still) -> Moving:
    """For formats that do not move: the frames as if they were separate pictures."""
    return lambda pictures, _fps: still(pictures)


def written(writer: Callable[[int, int], Writer]) -> Moving:
    """All at once, of a format that is written front to back."""

    def moving(pieces: Sequence[Any], fps: int) -> bytes:
        out = writer(len(pieces), fps)
        return b"".join([*(out.add(piece) for piece in pieces), out.end()])

    return moving


def still_of(writer: Callable[[int, int], Writer]) -> Still:
    """For formats that do not move: time means nothing to them."""
    return lambda pieces: written(writer)(pieces, 1)


CODECS = {
    codec.name: codec
    for codec in (
        Codec("png", "image/png", "png", png.encode, frame_by_frame(png.encode)),
        Codec("webp", "image/webp", "webp", webp.encode, webp.encode_moving),
        Codec("jpeg", "image/jpeg", "jpg", jpeg.encode, frame_by_frame(jpeg.encode)),
        Codec("gif", "image/gif", "gif", None, written(gif.Film), gif.frame, gif.Film),
        Codec("zip", "application/zip", "zip", still_of(zipped.Archive), written(zipped.Archive), png.encoded, zipped.Archive),
        Codec("npy", "application/x-npy", "npy", still_of(npy.Array), written(npy.Array), as_it_is, npy.Array),
    )
}
