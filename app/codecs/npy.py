"""NumPy's `.npy`: the plain pixels."""

import io

import numpy as np

from app.codecs.picture import Picture


class Array:
    """uint8 (count, height, width, channels)."""

    def __init__(self, count: int, fps: int) -> None:
        del fps  # an array does not move
        self._count = count
        self._begun = False

    def add(self, picture: Picture) -> bytes:
        """The pixels of the next picture; before the first one, the header."""
        begin = b"" if self._begun else _header((self._count, *picture.pixels.shape))
        self._begun = True
        return begin + picture.pixels.tobytes()

    def end(self) -> bytes:
        """Nothing more."""
        return b""


def _header(shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return out.getvalue()
