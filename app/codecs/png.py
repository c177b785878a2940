"""PNG, with provenance in its text chunks."""

import io
from collections.abc import Sequence

from PIL.PngImagePlugin import PngInfo

from app.codecs.picture import Picture, single


def encode(pictures: Sequence[Picture]) -> bytes:
    """One picture, or a contact sheet of several."""
    picture = single(pictures)
    chunks = PngInfo()
    for key, text in picture.provenance.texts().items():
        chunks.add_text(key, text)  # Latin-1 texts as tEXt, others as iTXt
    out = io.BytesIO()
    picture.image().save(out, "PNG", pnginfo=chunks)
    return out.getvalue()
