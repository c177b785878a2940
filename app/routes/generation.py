"""Pictures from latents: sample, generate, interpolate, arithmetic."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.answers import Rendering
from app.deps import body_of, engine_of, format_of, settings_of, timeout_of
from app.errors import RequestError
from app.routes.direct import DEADLINE, FORMAT, Direct, takes_body
from app.routes.replies import pictures, reply, reply_in_parts
from app.schemas.generation import ArithmeticRequest, GenerateRequest, InterpolateRequest, SampleRequest

router = APIRouter(prefix="/v1", tags=["generation"], route_class=Direct)


@router.post("/sample", responses=pictures(moving=False), openapi_extra=takes_body(SampleRequest, FORMAT, DEADLINE))
async def sample(request: Request) -> Response:
    """Draw pictures from an unconditional model."""
    order = (await body_of(request, SampleRequest)).order()
    rendering = Rendering(format_of(request, moving=False), order.n, codes=order.codes)
    return await reply(request, await engine_of(request).sample(order, timeout_of(request), rendering.each), rendering)


@router.post("/generate", responses=pictures(moving=False), openapi_extra=takes_body(GenerateRequest, FORMAT, DEADLINE))
async def generate(request: Request) -> Response:
    """Draw pictures of given classes from a label-conditional model."""
    order = (await body_of(request, GenerateRequest)).order()
    rendering = Rendering(format_of(request, moving=False), order.n)
    return await reply(request, await engine_of(request).generate(order, timeout_of(request), rendering.each), rendering)


@router.post("/interpolate", responses=pictures(moving=True), openapi_extra=takes_body(InterpolateRequest, FORMAT, DEADLINE))
async def interpolate(request: Request) -> Response:
    """Walk from picture to picture, through latents and labels."""
    body = await body_of(request, InterpolateRequest)
    order, most = body.order(), settings_of(request).max_frames
    if order.frames > most:
        raise RequestError("invalid-request", f"{order.frames} frames are more than this server makes: {most}")
    rendering = Rendering(format_of(request, moving=True), order.frames, body.fps)
    engine, timeout_s = engine_of(request), timeout_of(request)
    if rendering.comes_in_parts:
        return reply_in_parts(request, await engine.walk(order, timeout_s, rendering.each), rendering)
    return await reply(request, await engine.interpolate(order, timeout_s, rendering.each), rendering)


@router.post("/arithmetic", responses=pictures(moving=False), openapi_extra=takes_body(ArithmeticRequest, FORMAT, DEADLINE))
async def arithmetic(request: Request) -> Response:
    """Draw the picture of a weighted sum of latents: smiling woman − woman + man."""
    body = await body_of(request, ArithmeticRequest)
    rendering = Rendering(format_of(request, moving=False), 1)
    drawing = await engine_of(request).arithmetic(body.order(), timeout_of(request), rendering.each)
    return await reply(request, drawing, rendering)
