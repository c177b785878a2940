"""One picture by address, for `<img src>` and caches."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from app.answers import Rendering
from app.deps import EngineDep, TimeoutDep
from app.engine.engine import FROM_LATENTS
from app.engine.orders import DrawOrder
from app.errors import RequestError
from app.etags import etag, matches
from app.routes.replies import BINARY, Responses, problems, reply
from app.schemas.common import LabelName, ModelReference
from models.latents import MAX_SEED

router = APIRouter(prefix="/v1", tags=["generation"])

FORMATS = {"png": "png", "webp": "webp", "jpg": "jpeg", "jpeg": "jpeg"}
CACHE = "public, max-age=31536000, immutable"
KINDS = dict.fromkeys(("image/png", "image/webp", "image/jpeg"), BINARY)
DRAWN: Responses = {200: {"content": KINDS}, 304: {"description": "the caller has it already"}}
PROBLEMS = problems(
    "invalid-request", "unknown-model", "wrong-task", "unknown-label", "not-found", "overloaded", "model-unavailable",
    "deadline-exceeded",
)  # fmt: skip


@router.head("/images/{model}/{seed}.{extension}", include_in_schema=False)
@router.get("/images/{model}/{seed}.{extension}", responses=DRAWN | PROBLEMS, response_class=Response)
async def image(
    *,
    request: Request,
    engine: EngineDep,
    timeout_s: TimeoutDep,
    model: Annotated[ModelReference, Path(examples=["fashion"])],
    seed: Annotated[int, Path(ge=0, le=MAX_SEED, examples=[7])],
    extension: Annotated[str, Path(description="`png`, `webp` or `jpg`", examples=["png"])],
    label: Annotated[LabelName | None, Query(description="name (any case) or index; default: the first class")] = None,
    truncation: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 1.0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The picture of a seed. It never changes, so it may be cached for ever."""
    if extension not in FORMATS:
        raise RequestError("not-found", f"pictures end in {', '.join(FORMATS)}, not in '{extension[:20]}'")
    served = engine.find(model, FROM_LATENTS)
    order = DrawOrder(model, 1, seed, None, None if label is None else [label], truncation)
    tag = etag(served, engine.device, order, engine.label_of(served, order), FORMATS[extension])
    headers = {"ETag": tag, "Cache-Control": CACHE}
    if matches(if_none_match, tag):
        return Response(status_code=304, headers=headers | {"X-Model": served.key[0], "X-Model-Version": str(served.key[1])})
    rendering = Rendering(FORMATS[extension], 1)
    response = await reply(request, engine, await engine.picture(served, order, timeout_s, rendering.each), rendering)
    del response.headers["vary"]  # the address alone decides
    response.headers.update(headers)
    return response
