"""JPEG, for those who can't take anything better: it blurs the edges of small pictures."""

import io
from collections.abc import Sequence

from app.codecs.picture import Picture, single

QUALITY = 95


def encode(pictures: Sequence[Picture]) -> bytes:
    """One picture, or a contact sheet of several. Alpha is dropped: JPEG has none."""
    picture = single(pictures)
    image = picture.image()
    image = image.convert({"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, subsampling=0, comment=picture.provenance.line())
    return out.getvalue()
