"""What the routes have in common: turning drawings into responses, and telling OpenAPI about it."""

import time
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from app.answers import Rendering
from app.codecs import CODECS
from app.deps import engine_of
from app.engine.orders import Classified, Drawing, Scored, Walk
from app.errors import PROBLEM_JSON, PROBLEMS
from app.negotiation import JSON_TYPE
from app.schemas.common import Problem
from app.schemas.generation import ImagesBody

Responses = dict[int | str, dict[str, Any]]  # as FastAPI documents them

BINARY = {"schema": {"type": "string", "format": "binary"}}
NEGOTIATED = {"Vary": "Accept"}
USUAL = (
    "invalid-request", "unknown-model", "wrong-task", "not-acceptable", "unsupported-media-type", "body-too-large",
    "overloaded", "model-unavailable", "deadline-exceeded",
)  # fmt: skip


async def reply(request: Request, drawing: Drawing, rendering: Rendering, headers: Mapping[str, str] = NEGOTIATED) -> Response:
    """A drawing in the format that was asked for."""
    request.scope["state"]["model"] = drawing.model.manifest.name  # for the log; Starlette's `state` makes an object each time
    made = rendering.join(drawing) if rendering.is_light else await engine_of(request).offload(rendering.join, drawing)
    return Response(made.body, headers={**made.headers, **headers}, media_type=made.media_type)


def reply_in_parts(request: Request, walk: Walk, rendering: Rendering) -> Response:
    """Frames, sent while the next are drawn."""
    request.state.model = walk.model.manifest.name
    headers = {**rendering.headers(walk.model, walk.seeds), **NEGOTIATED}
    return StreamingResponse(rendering.parts(walk), headers=headers, media_type=CODECS[rendering.format_name].media_type)


def problems(*slugs: str) -> Responses:
    """The OpenAPI entries of the problems that a route may answer with."""
    by_status: dict[int, list[str]] = {}
    for slug in slugs:
        by_status.setdefault(PROBLEMS[slug].status, []).append(slug)
    return {
        status: {"model": Problem, "description": " or ".join(f"`{s}`" for s in of), "content": {PROBLEM_JSON: {}}}
        for status, of in by_status.items()
    }


def pictures(*, moving: bool) -> Responses:
    """The OpenAPI entry of a drawing in all its formats, and of what may go wrong."""
    binary = {c.media_type: BINARY for c in CODECS.values() if (c.moving if moving else c.still)}
    made: Responses = {200: {"model": ImagesBody, "description": "the pictures", "content": binary}}
    return made | problems("unknown-label", *USUAL)


def answers(body: type[BaseModel] = ImagesBody) -> Responses:
    """The OpenAPI entry of a picture that answers a picture, in all its formats, and of what may go wrong."""
    binary = {c.media_type: BINARY for c in CODECS.values() if c.still}
    made: Responses = {200: {"model": body, "description": "the answer", "content": binary}}
    return made | problems("unknown-label", "bad-image", "image-too-large", *USUAL)


def told_of(body: type[BaseModel]) -> Responses:
    """The OpenAPI entry of JSON that answers a picture, and of what may go wrong."""
    made: Responses = {200: {"model": body, "description": "the answer"}}
    return made | problems("unknown-label", "bad-image", "image-too-large", *USUAL)


def told(request: Request, made: Drawing | Scored | Classified, body: type[BaseModel], **fields: Any) -> Response:
    """An answer as JSON, beginning with the model that gave it."""
    name, version = made.model.key
    request.state.model = name
    headers = {"X-Model": name, "X-Model-Version": str(version), **NEGOTIATED}
    if isinstance(made, Drawing) and made.seeds[0] is not None:
        headers["X-Seed"] = str(made.seeds[0])
    content = body(model=name, version=version, created=int(time.time()), **fields).model_dump_json()
    return Response(content, headers=headers, media_type=JSON_TYPE)
