"""GIF: moving pictures for places that take nothing else; 256 colours a frame."""

import io
from collections.abc import Sequence

from app.codecs.picture import Picture


def encode_moving(pictures: Sequence[Picture], fps: int) -> bytes:
    """Frames as a film that repeats for ever. Times are whole 1/100 s, and players show no frame for less than 2 of them."""
    first, *others = [p.image().convert("L" if p.pixels.shape[2] <= 2 else "RGB") for p in pictures]
    ends = [max(2 * (i + 1), round(100 * (i + 1) / fps)) for i in range(len(pictures))]
    durations = [10 * (b - a) for a, b in zip([0, *ends], ends, strict=False)]
    out = io.BytesIO()
    first.save(
        out,
        "GIF",
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        comment=pictures[0].provenance.line().encode("utf-8")[:255],
    )
    return out.getvalue()
