"""From a drawing to the body of an answer. Plain functions of data, run in a helper thread."""

import base64
import time
from dataclasses import dataclass

from app.codecs import CODECS, png
from app.codecs.picture import Picture, Provenance
from app.engine.orders import Drawing
from app.negotiation import JSON, JSON_TYPE
from app.schemas.generation import ImageBody, ImagesBody, TimingBody


@dataclass(frozen=True)
class Answer:
    """A body and the headers that go with it."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def pictures_of(drawing: Drawing) -> list[Picture]:
    """Each picture with where it came from."""
    manifest = drawing.model.manifest
    names = [None if label is None else manifest.labels[label] for label in drawing.labels]
    return [
        Picture(image, Provenance(manifest.name, manifest.version, seed, name, drawing.truncation))
        for image, seed, name in zip(drawing.images, drawing.seeds, names, strict=True)
    ]


def answer(drawing: Drawing, format_name: str, fps: int | None = None) -> Answer:
    """The body in that format; `fps`: as the frames of a film."""
    began = time.perf_counter()
    pictures = pictures_of(drawing)
    headers = headers_of(drawing)
    if format_name == JSON:
        body, media_type = json_body(drawing, pictures, began), JSON_TYPE
    else:
        codec = CODECS[format_name]
        media_type = codec.media_type
        if fps is not None and codec.moving is not None:
            body = codec.moving(pictures, fps)
        elif codec.still is not None:
            body = codec.still(pictures)
        else:
            raise ValueError(f"{format_name} can't hold separate pictures")  # negotiation does not offer it
        manifest = drawing.model.manifest
        headers["Content-Disposition"] = f'inline; filename="{manifest.name}-{manifest.version}.{codec.extension}"'
    timing = {"queue": drawing.queue_ms, "inference": drawing.inference_ms, "encode": (time.perf_counter() - began) * 1000}
    headers["Server-Timing"] = ", ".join(f"{name};dur={ms:.3f}" for name, ms in timing.items())
    return Answer(body, media_type, headers)


def json_body(drawing: Drawing, pictures: list[Picture], began: float) -> bytes:
    """The contract's JSON."""
    images = []
    for picture, label in zip(pictures, drawing.labels, strict=True):
        height, width, _ = picture.pixels.shape
        images.append(
            ImageBody(
                b64=base64.b64encode(png.encode([picture])).decode("ascii"),
                media_type="image/png",
                seed=picture.provenance.seed,
                label=label,
                label_name=picture.provenance.label,
                width=width,
                height=height,
            )
        )
    encode_ms = (time.perf_counter() - began) * 1000
    timing = TimingBody(queue=drawing.queue_ms, inference=drawing.inference_ms, encode=encode_ms)
    manifest = drawing.model.manifest
    body = ImagesBody(model=manifest.name, version=manifest.version, created=int(time.time()), images=images, timing_ms=timing)
    return body.model_dump_json().encode()


def headers_of(drawing: Drawing) -> dict[str, str]:
    """Which model drew it, and from which seed if it was one."""
    manifest = drawing.model.manifest
    headers = {"X-Model": manifest.name, "X-Model-Version": str(manifest.version)}
    if drawing.seeds[0] is not None:
        headers["X-Seed"] = str(drawing.seeds[0])
    return headers
