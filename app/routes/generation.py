"""Pictures from latents: sample, generate, interpolate, arithmetic."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.answers import Rendering
from app.deps import EngineDep, FramesFormat, PictureFormat, RequireJson, SettingsDep, TimeoutDep
from app.errors import RequestError
from app.routes.replies import pictures, reply
from app.schemas.generation import ArithmeticRequest, GenerateRequest, InterpolateRequest, SampleRequest

router = APIRouter(prefix="/v1", tags=["generation"], dependencies=[RequireJson])


@router.post("/sample", responses=pictures(moving=False))
async def sample(
    request: Request, body: SampleRequest, engine: EngineDep, format_name: PictureFormat, timeout_s: TimeoutDep
) -> Response:
    """Draw pictures from an unconditional model."""
    order = body.order()
    rendering = Rendering(format_name, order.n)
    return await reply(request, engine, await engine.sample(order, timeout_s, rendering.each), rendering)


@router.post("/generate", responses=pictures(moving=False))
async def generate(
    request: Request, body: GenerateRequest, engine: EngineDep, format_name: PictureFormat, timeout_s: TimeoutDep
) -> Response:
    """Draw pictures of given classes from a label-conditional model."""
    order = body.order()
    rendering = Rendering(format_name, order.n)
    return await reply(request, engine, await engine.generate(order, timeout_s, rendering.each), rendering)


@router.post("/interpolate", responses=pictures(moving=True))
async def interpolate(
    *,
    request: Request,
    body: InterpolateRequest,
    engine: EngineDep,
    settings: SettingsDep,
    format_name: FramesFormat,
    timeout_s: TimeoutDep,
) -> Response:
    """Walk from picture to picture, through latents and labels."""
    if body.frames > settings.max_frames:
        raise RequestError("invalid-request", f"{body.frames} frames are more than this server makes: {settings.max_frames}")
    rendering = Rendering(format_name, body.frames, body.fps)
    return await reply(request, engine, await engine.interpolate(body.order(), timeout_s, rendering.each), rendering)


@router.post("/arithmetic", responses=pictures(moving=False))
async def arithmetic(
    request: Request, body: ArithmeticRequest, engine: EngineDep, format_name: PictureFormat, timeout_s: TimeoutDep
) -> Response:
    """Draw the picture of a weighted sum of latents: smiling woman − woman + man."""
    rendering = Rendering(format_name, 1)
    return await reply(request, engine, await engine.arithmetic(body.order(), timeout_s, rendering.each), rendering)
