"""Encoders, checked by decoders that others wrote."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from app.codecs import png
from app.codecs.picture import Picture, Provenance

PROVENANCE = Provenance("fashion", 1, 7, "Sneaker", 0.5)
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_png_keeps_every_pixel_of_every_shape(pixels: NDArray[np.uint8]) -> None:
    with Image.open(io.BytesIO(png.encode([Picture(pixels, PROVENANCE)]))) as decoded:
        decoded.load()
        assert decoded.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
        assert (np.asarray(decoded).reshape(pixels.shape) == pixels).all()


@pytest.mark.parametrize("label", ["Sneaker", "Fußball", "運動靴", "", "two\nlines"])
def test_png_carries_labels_in_any_script(label: str) -> None:
    provenance = Provenance("fashion", 1, 7, label, 0.5)
    with Image.open(io.BytesIO(png.encode([Picture(np.zeros((4, 4, 1), np.uint8), provenance)]))) as decoded:
        decoded.load()
        assert decoded.text == provenance.texts()  # type: ignore[attr-defined]


def test_png_takes_pixels_that_are_a_view_of_others() -> None:
    whole = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    view = whole[::2, ::3, ::-1]
    with Image.open(io.BytesIO(png.encode([Picture(view, PROVENANCE)]))) as decoded:
        assert (np.asarray(decoded) == view).all()


def test_png_is_not_much_larger_than_a_careful_encoder_makes_it() -> None:
    ramp = np.add.outer(np.arange(64), np.arange(64))
    pixels = np.stack([ramp, 2 * ramp, 255 - ramp], axis=-1).astype(np.uint8)
    careful = io.BytesIO()
    Image.fromarray(pixels).save(careful, "PNG", optimize=True)
    ours = png.encode([Picture(pixels, PROVENANCE)])
    assert len(ours) < 2 * len(careful.getvalue()) + 500  # the texts
