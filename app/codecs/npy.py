"""NumPy's `.npy`: the plain pixels."""

import io
from collections.abc import Sequence

import numpy as np

from app.codecs.picture import Picture


def encode(pictures: Sequence[Picture]) -> bytes:
    """uint8 (n, height, width, channels)."""
    out = io.BytesIO()
    np.save(out, np.stack([p.pixels for p in pictures]), allow_pickle=False)
    return out.getvalue()
