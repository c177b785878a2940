"""Pictures as bytes. One table; each codec is pure functions of arrays, safe to run in any thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.codecs import gif, jpeg, npy, png, webp, zipped
from app.codecs.picture import Picture

Still = Callable[[Sequence[Any]], bytes]
Moving = Callable[[Sequence[Any], int], bytes]  # and frames a second


def as_it_is(picture: Picture) -> Picture:
    """For formats that need all pictures at once."""
    return picture


@dataclass(frozen=True)
class Codec:
    """One output format. `still` takes separate pictures, `moving` the frames of a film; None: it can't.

    Both take what `each` made of every picture, which can be done for one while the next is drawn.
    """

    name: str
    media_type: str
    extension: str
    still: Still | None
    moving: Moving | None
    each: Callable[[Picture], Any] = as_it_is


def frame_by_frame(still: Still) -> Moving:
    """For formats that do not move: the frames as if they were separate pictures."""
    return lambda pictures, _fps: still(pictures)


CODECS = {
    codec.name: codec
    for codec in (
        Codec("png", "image/png", "png", png.encode, frame_by_frame(png.encode)),
        Codec("webp", "image/webp", "webp", webp.encode, webp.encode_moving),
        Codec("jpeg", "image/jpeg", "jpg", jpeg.encode, frame_by_frame(jpeg.encode)),
        Codec("gif", "image/gif", "gif", None, gif.encode_moving),
        Codec("zip", "application/zip", "zip", zipped.encode, frame_by_frame(zipped.encode), png.encoded),
        Codec("npy", "application/x-npy", "npy", npy.encode, frame_by_frame(npy.encode)),
    )
}
