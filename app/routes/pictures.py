"""Pictures that answer pictures: translate, upscale."""

import functools

import numpy as np
from fastapi import APIRouter, Request
from PIL import Image
from starlette.responses import Response

from app.answers import Rendering
from app.codecs.upload import Upload, composited, in_family_of
from app.deps import engine_of, format_of, picture_of, timeout_of
from app.engine.orders import Answered, Drawing, Drawn
from app.engine.tiles import Picture
from app.routes.direct import DEADLINE, FORMAT, Direct, takes_picture
from app.routes.replies import answers, reply
from app.schemas.pictures import TranslateRequest, UpscaleRequest

router = APIRouter(prefix="/v1", tags=["image to image"], route_class=Direct)


@router.post("/translate", responses=answers(), openapi_extra=takes_picture(TranslateRequest, FORMAT, DEADLINE))
async def translate(request: Request) -> Response:
    """Translate a picture: a label map to a photograph, a horse to a zebra. The answer has the picture's size."""
    rendering = Rendering(format_of(request, moving=False), 1)
    async with picture_of(request, TranslateRequest) as (body, upload):
        engine = engine_of(request)
        order = body.order(await engine.offload(composited, upload))
        answered = await engine.translate(order, timeout_of(request))
    return await in_format(request, answered, answered.pixels, rendering)


@router.post("/upscale", responses=answers(), openapi_extra=takes_picture(UpscaleRequest, FORMAT, DEADLINE))
async def upscale(request: Request) -> Response:
    """Enlarge a picture. The answer is exactly the model's scale times as large; grey stays grey, and alpha is kept."""
    rendering = Rendering(format_of(request, moving=False), 1)
    async with picture_of(request, UpscaleRequest) as (body, upload):
        engine = engine_of(request)
        answered = await engine.upscale(body.order(upload.pixels), timeout_of(request))
        pixels = await engine.offload(with_channels_of, upload, answered.pixels)
    return await in_format(request, answered, pixels, rendering)


def with_channels_of(upload: Upload, pixels: Picture) -> Picture:
    """An answer with the channels of the picture that it answers: grey or RGB, and its alpha at the answer's size."""
    alpha = None
    if upload.alpha is not None:
        size = (pixels.shape[1], pixels.shape[0])
        alpha = np.asarray(Image.fromarray(upload.alpha).resize(size, Image.Resampling.BICUBIC))
    rgb = pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)
    return in_family_of(upload, rgb, alpha)


async def in_format(request: Request, answered: Answered, pixels: Picture, rendering: Rendering) -> Response:
    """An answer in the format that was asked for."""
    each = functools.partial(rendering.each, Drawn(answered.model, pixels, None, None, None))
    piece = await engine_of(request).offload(each)
    drawing = Drawing(answered.model, [piece], [None], [None], None, answered.queue_ms, answered.inference_ms, 0.0)
    return await reply(request, drawing, rendering)
