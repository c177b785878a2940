"""One picture by address, for `<img src>` and caches."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.answers import Rendering
from app.deps import address_of, engine_of, timeout_of
from app.engine.image_to_image import FROM_LATENTS
from app.engine.orders import DrawOrder, Label
from app.errors import RequestError
from app.etags import etag, matches
from app.headers import header
from app.routes.direct import DEADLINE, Direct, takes_address
from app.routes.replies import BINARY, Responses, problems, reply
from app.schemas.generation import ImageAddress

router = APIRouter(prefix="/v1", tags=["generation"], route_class=Direct)

PATH = "/images/{model}/{seed}.{extension}"
FORMATS = {"png": "png", "webp": "webp", "jpg": "jpeg", "jpeg": "jpeg"}
CACHE = "public, max-age=31536000, immutable"
KINDS = dict.fromkeys(("image/png", "image/webp", "image/jpeg"), BINARY)
DRAWN: Responses = {200: {"content": KINDS}, 304: {"description": "the caller has it already"}}
PROBLEMS = problems(
    "invalid-request", "unknown-model", "wrong-task", "unknown-label", "not-found", "overloaded", "model-unavailable",
    "deadline-exceeded",
)  # fmt: skip
TAG = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}, "description": "the ETag of what the caller has"}


@router.head(PATH, include_in_schema=False)
@router.get(
    PATH, responses=DRAWN | PROBLEMS, response_class=Response, openapi_extra=takes_address(ImageAddress, PATH, TAG, DEADLINE)
)
async def image(request: Request) -> Response:
    """The picture of a seed. It never changes, so it may be cached for ever."""
    asked = address_of(request, ImageAddress)
    if asked.extension not in FORMATS:
        raise RequestError("not-found", f"pictures end in {', '.join(FORMATS)}, not in '{asked.extension[:20]}'")
    engine, format_name = engine_of(request), FORMATS[asked.extension]
    served = engine.find(asked.model, FROM_LATENTS)
    labels: list[Label] | None = None if asked.label is None else [asked.label]
    order = DrawOrder(asked.model, 1, asked.seed, None, labels, asked.truncation, resolution=asked.resolution)
    resolution, label = engine.resolution_of(served, order), engine.label_of(served, order)
    tag = etag(served, engine.device, order, resolution, label, format_name)
    headers = {"ETag": tag, "Cache-Control": CACHE}
    if matches(header(request.scope, b"if-none-match"), tag):
        return Response(status_code=304, headers=headers | {"X-Model": served.key[0], "X-Model-Version": str(served.key[1])})
    rendering = Rendering(format_name, 1)
    drawing = await engine.picture(served, order, timeout_of(request), rendering.each)
    # no Vary: the address alone decides
    return await reply(request, drawing, rendering, headers)
