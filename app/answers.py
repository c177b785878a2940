"""From pictures to the body of an answer: first each by itself, in the lane that drew it, then all together."""

import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.codecs import CODECS, png
from app.codecs.picture import Encoded, Picture, Provenance
from app.engine.catalog import Served
from app.engine.orders import Drawing, Drawn, Walk
from app.negotiation import JSON, JSON_TYPE
from app.schemas.generation import ImageBody, ImagesBody, TimingBody
from models.codes import CodeValue


@dataclass(frozen=True)
class Answer:
    """A body and the headers that go with it."""

    body: bytes
    media_type: str
    headers: dict[str, str]


PARTS_FROM = 16  # frames: fewer are ready about when the first one is
CODECS_WITH_PARTS = {name: codec.writer for name, codec in CODECS.items() if codec.writer is not None}


@dataclass(frozen=True)
class Rendering:
    """How `count` pictures become a body in that format. `fps`: as the frames of a film. `codes`: what theirs were set to."""

    format_name: str
    count: int
    fps: int | None = None
    codes: Mapping[str, CodeValue] = field(default_factory=dict)

    @property
    def is_light(self) -> bool:
        """Whether `join` takes no longer than it takes to wake another thread."""
        return self._whole or (self.count == 1 and self.fps is None)

    @property
    def _whole(self) -> bool:
        """Whether a single picture's piece is the body already."""
        return self.count == 1 and self.fps is None and self.format_name in {"png", "webp", "jpeg"}

    @property
    def comes_in_parts(self) -> bool:
        """Whether the body is sent as it is made: it is a film, of a format that can be, and not over in a moment."""
        return self.fps is not None and self.count >= PARTS_FROM and CODECS_WITH_PARTS.get(self.format_name) is not None

    async def parts(self, walk: Walk) -> AsyncIterator[bytes]:
        """The body of `join`, as it comes."""
        writer = CODECS_WITH_PARTS[self.format_name](self.count, self.fps or 1)
        async with contextlib.aclosing(walk.pieces):
            async for piece in walk.pieces:
                yield writer.add(piece)
        yield writer.end()

    def each(self, drawn: Drawn) -> Any:
        """What can be done for one picture while others are still to be drawn."""
        manifest = drawn.model.manifest
        name = None if drawn.label is None else manifest.labels[drawn.label]
        provenance = Provenance(manifest.name, manifest.version, drawn.seed, name, drawn.truncation, self._codes)
        picture = Picture(drawn.pixels, provenance)
        if self.format_name == JSON:
            return png.encoded(picture)
        codec = CODECS[self.format_name]
        if self._whole and codec.still is not None:
            return codec.still([picture])
        return codec.each(picture)

    @property
    def _codes(self) -> str | None:
        return json.dumps(self.codes) if self.codes else None

    def join(self, drawing: Drawing) -> Answer:
        """The answer, of the pieces that `each` made. A plain function of data, for any thread."""
        began = time.perf_counter()
        headers = self.headers(drawing.model, drawing.seeds)
        if self.format_name == JSON:
            body, media_type = json_body(drawing, began), JSON_TYPE
        else:
            codec = CODECS[self.format_name]
            body, media_type = self._joined(drawing.pieces), codec.media_type
        encode_ms = drawing.encode_ms + (time.perf_counter() - began) * 1000
        headers["Server-Timing"] = (
            f"queue;dur={drawing.queue_ms:.3f}, inference;dur={drawing.inference_ms:.3f}, encode;dur={encode_ms:.3f}"
        )
        return Answer(body, media_type, headers)

    def headers(self, model: Served, seeds: Sequence[int | None]) -> dict[str, str]:
        """Which model drew it, from which seed if it was one, and under which name to save it."""
        manifest = model.manifest
        headers = {"X-Model": manifest.name, "X-Model-Version": str(manifest.version)}
        if seeds[0] is not None:
            headers["X-Seed"] = str(seeds[0])
        if self.format_name != JSON:
            extension = CODECS[self.format_name].extension
            headers["Content-Disposition"] = f'inline; filename="{manifest.name}-{manifest.version}.{extension}"'
        return headers

    def _joined(self, pieces: Any) -> bytes:
        codec = CODECS[self.format_name]
        if self._whole:
            whole: bytes = pieces[0]
            return whole
        if self.fps is not None and codec.moving is not None:
            return codec.moving(pieces, self.fps)
        if codec.still is not None:
            return codec.still(pieces)
        raise ValueError(f"{self.format_name} can't hold separate pictures")  # negotiation does not offer it


def image_body(encoded: Encoded, label: int | None) -> ImageBody:
    """A PNG as it stands in JSON."""
    return ImageBody(
        b64=base64.b64encode(encoded.data).decode("ascii"),
        media_type="image/png",
        seed=encoded.provenance.seed,
        label=label,
        label_name=encoded.provenance.label,
        width=encoded.width,
        height=encoded.height,
    )


def json_body(drawing: Drawing, began: float) -> bytes:
    """The contract's JSON."""
    images = [image_body(encoded, label) for encoded, label in zip(drawing.pieces, drawing.labels, strict=True)]
    encode_ms = drawing.encode_ms + (time.perf_counter() - began) * 1000
    timing = TimingBody(queue=drawing.queue_ms, inference=drawing.inference_ms, encode=encode_ms)
    manifest = drawing.model.manifest
    body = ImagesBody(model=manifest.name, version=manifest.version, created=int(time.time()), images=images, timing_ms=timing)
    return body.model_dump_json().encode()
