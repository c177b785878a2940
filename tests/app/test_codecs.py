"""Encoders, checked by decoders that others wrote."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from app.codecs import CODECS, gif, png
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


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("fps", [1, 24, 60])
def test_a_film_has_every_frame_and_lasts_as_long_as_it_should(channels: int, fps: int) -> None:
    """Few colours a frame, so that 256 are enough: then GIF keeps every pixel."""
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 256, (7, 28, 33, 1), dtype=np.uint8) // 32 * 32
    frames = [Picture(np.repeat(s, channels, axis=2), PROVENANCE) for s in shades]
    film = CODECS["gif"].moving
    assert film is not None
    image = Image.open(io.BytesIO(film([gif.frame(f) for f in frames], fps)))
    assert image.n_frames == 7 and image.info["loop"] == 0 and b"synthetic image" in image.info["comment"]
    durations = []
    for i, frame in enumerate(frames):
        image.seek(i)
        durations.append(image.info["duration"])
        assert (np.asarray(image.convert("RGB"))[..., 0] == frame.pixels[..., 0]).all()
    assert sum(durations) == max(7 * 20, round(700 / fps) * 10)


@pytest.mark.parametrize("name", ["gif", "zip", "npy"])
def test_a_body_in_parts_is_the_body_at_once(name: str) -> None:
    codec = CODECS[name]
    assert codec.moving is not None and codec.writer is not None
    pieces = [codec.each(Picture(np.full((8, 8, 3), i, np.uint8), PROVENANCE)) for i in range(5)]
    writer = codec.writer(5, 24)
    parts = [writer.add(piece) for piece in pieces]
    assert all(parts)
    assert b"".join([*parts, writer.end()]) == codec.moving(pieces, 24)
