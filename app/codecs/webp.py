"""WebP, lossless: still and moving."""

import io
from collections.abc import Sequence

from PIL import Image

from app.codecs.picture import Picture, Provenance, single

IMAGE_DESCRIPTION = 0x010E  # the Exif tag


def encode(pictures: Sequence[Picture]) -> bytes:
    """One picture, or a contact sheet of several. Grey comes out as RGB: WebP has no grey."""
    picture = single(pictures)
    out = io.BytesIO()
    picture.image().save(out, "WEBP", lossless=True, exif=exif(picture.provenance))
    return out.getvalue()


def encode_moving(pictures: Sequence[Picture], fps: int) -> bytes:
    """Frames as a film that repeats for ever."""
    first, *others = [p.image().convert("RGBA" if p.pixels.shape[2] in {2, 4} else "RGB") for p in pictures]
    ends = [round(1000 * (i + 1) / fps) for i in range(len(pictures))]
    durations = [b - a for a, b in zip([0, *ends], ends, strict=False)]  # whole ms that add up to the right length
    out = io.BytesIO()
    first.save(
        out,
        "WEBP",
        lossless=True,
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        exif=exif(pictures[0].provenance),
    )
    return out.getvalue()


def exif(provenance: Provenance) -> bytes:
    """Exif data that says where a picture came from."""
    tags = Image.Exif()
    tags[IMAGE_DESCRIPTION] = provenance.line()
    return tags.tobytes()
