"""Pictures in: translate, upscale, inpaint, project, discriminate, classify."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from PIL import Image
from starlette.responses import Response

from app.answers import Rendering, image_body
from app.codecs.upload import Upload, composited, in_family_of
from app.deps import engine_of, format_of, pictures_of, timeout_of
from app.engine.fitting import Mask, Picture
from app.engine.orders import Answered, Drawing, Drawn, Filled
from app.errors import RequestError
from app.negotiation import JSON, JSON_TYPE, negotiate
from app.routes.direct import DEADLINE, FORMAT, Direct, takes_picture
from app.routes.replies import answers, reply, told, told_of
from app.schemas.generation import ImageBody, TimingBody
from app.schemas.pictures import (
    WHITE,
    ClassBody,
    ClassesBody,
    ClassifyRequest,
    DiscriminateRequest,
    FilledBody,
    InpaintRequest,
    ProjectedBody,
    ProjectRequest,
    ScoresBody,
    TranslateRequest,
    UpscaleRequest,
)

router = APIRouter(prefix="/v1", tags=["image to image"], route_class=Direct)


@router.post("/translate", responses=answers(), openapi_extra=takes_picture(TranslateRequest, FORMAT, DEADLINE))
async def translate(request: Request) -> Response:
    """Translate a picture: a label map to a photograph, a horse to a zebra. The answer has the picture's size."""
    rendering = Rendering(format_of(request, moving=False), 1)
    async with pictures_of(request, TranslateRequest) as (body, (upload,)):
        engine = engine_of(request)
        order = body.order(await engine.offload(composited, upload))
        answered = await engine.pictures.translate(order, timeout_of(request))
    return await in_format(request, answered, answered.pixels, rendering)


@router.post("/upscale", responses=answers(), openapi_extra=takes_picture(UpscaleRequest, FORMAT, DEADLINE))
async def upscale(request: Request) -> Response:
    """Enlarge a picture. The answer is exactly the model's scale times as large; grey stays grey, and alpha is kept."""
    rendering = Rendering(format_of(request, moving=False), 1)
    engine = engine_of(request)

    def most_pixels(body: UpscaleRequest) -> int:
        return engine.pictures.most_to_upscale(body.model)

    async with pictures_of(request, UpscaleRequest, most_pixels) as (body, (upload,)):
        answered = await engine.pictures.upscale(body.order(upload.pixels), timeout_of(request))
        pixels = await engine.offload(with_channels_of, upload, answered.pixels)
    return await in_format(request, answered, pixels, rendering)


@router.post("/inpaint", responses=answers(FilledBody), openapi_extra=takes_picture(InpaintRequest, FORMAT, DEADLINE))
async def inpaint(request: Request) -> Response:
    """Fill a hole, in as many ways as you like. What the mask leaves black comes back unchanged.

    Models that learned to fill holes do it at once; those that draw from latents search for a picture that fits around it.
    """
    rendering = Rendering(format_of(request, moving=False), 1)
    async with pictures_of(request, InpaintRequest) as (body, (upload, mask)):
        engine = engine_of(request)
        hole = await engine.offload(hole_of, mask, upload)
        order = body.order(await engine.offload(composited, upload), hole)
        filled = await engine.pictures.inpaint(order, timeout_of(request))
        rendering, began = dataclasses.replace(rendering, count=order.n), time.perf_counter()
        pictures = await engine.offload(around_the_holes, upload, hole, filled.drawing.pieces)
        drawing = await engine.offload(encoded, filled.drawing, pictures, rendering)
        if rendering.format_name != JSON:
            return await reply(request, drawing, rendering)
        apart = None if filled.disagreement is None else await engine.offload(grey_body, filled, rendering)
    images = [image_body(piece, label) for piece, label in zip(drawing.pieces, drawing.labels, strict=True)]
    return told(request, drawing, FilledBody, images=images, disagreement=apart, timing_ms=timing_of(drawing, began))


@router.post("/project", responses=told_of(ProjectedBody), openapi_extra=takes_picture(ProjectRequest, DEADLINE))
async def project(request: Request) -> Response:
    """Find the latent of the picture, among all that a model can make, that is nearest to yours. Takes a second or two."""
    json_only(request)
    async with pictures_of(request, ProjectRequest) as (body, (upload,)):
        engine = engine_of(request)
        order = body.order(await engine.offload(composited, upload))
        found = await engine.pictures.project(order, timeout_of(request))
    began = time.perf_counter()
    drawing = await engine.offload(encoded, found.drawing, found.drawing.pieces, Rendering(JSON, 1))
    image = image_body(drawing.pieces[0], drawing.labels[0])
    nearest = {"z": found.z, "distance": found.distance, "label": image.label, "label_name": image.label_name}
    return told(request, drawing, ProjectedBody, **nearest, image=image, timing_ms=timing_of(drawing, began))


@router.post("/discriminate", responses=told_of(ScoresBody), openapi_extra=takes_picture(DiscriminateRequest, DEADLINE))
async def discriminate(request: Request) -> Response:
    """Ask a model's discriminator how real pictures look to it: a score for each."""
    json_only(request)
    async with pictures_of(request, DiscriminateRequest) as (body, uploads):
        engine = engine_of(request)
        pictures = [await engine.offload(composited, upload) for upload in uploads]
        scored = await engine.pictures.discriminate(body.order(pictures), timeout_of(request))
    timing = TimingBody(queue=scored.queue_ms, inference=scored.inference_ms, encode=0.0)
    return told(request, scored, ScoresBody, scores=scored.scores, timing_ms=timing)


@router.post("/classify", responses=told_of(ClassesBody), openapi_extra=takes_picture(ClassifyRequest, DEADLINE))
async def classify(request: Request) -> Response:
    """Ask a model that learned classes from few labels what a picture shows: the probability of each class."""
    json_only(request)
    async with pictures_of(request, ClassifyRequest) as (body, (upload,)):
        engine = engine_of(request)
        order = body.order(await engine.offload(composited, upload))
        found = await engine.pictures.classify(order, timeout_of(request))
    classes = [ClassBody(label=i, label_name=name, probability=p) for i, name, p in found.classes]
    timing = TimingBody(queue=found.queue_ms, inference=found.inference_ms, encode=0.0)
    return told(request, found, ClassesBody, classes=classes, timing_ms=timing)


def json_only(request: Request) -> None:
    """Refuses callers who want anything but JSON, of what is no picture. Raises `not-acceptable`."""
    negotiate(request.query_params.get("format"), request.headers.get("accept"), {JSON: JSON_TYPE})


def timing_of(drawing: Drawing, began: float) -> TimingBody:
    """Where the time went; `began`: when encoding did, by `time.perf_counter`."""
    encode_ms = (time.perf_counter() - began) * 1000
    return TimingBody(queue=drawing.queue_ms, inference=drawing.inference_ms, encode=encode_ms)


def hole_of(mask: Upload, upload: Upload) -> Mask:
    """Where a mask is white, or transparent. Raises `invalid-request` where it does not lie on the picture."""
    if mask.pixels.shape != upload.pixels.shape:
        (height, width), (high, wide) = upload.pixels.shape[:2], mask.pixels.shape[:2]
        raise RequestError("invalid-request", f"the mask has {wide}x{high} px and the image {width}x{height}: make them equal")
    luma = np.asarray(Image.fromarray(composited(mask)).convert("L"))
    white: Mask = luma >= WHITE
    return white


def grey_body(filled: Filled, rendering: Rendering) -> ImageBody:
    """The map of where ways to fill a hole are apart."""
    assert filled.disagreement is not None
    of_none = dataclasses.replace(filled.drawing, seeds=[None], labels=[None])
    return image_body(encoded(of_none, [filled.disagreement[:, :, None]], rendering).pieces[0], None)


def around_the_holes(upload: Upload, hole: Mask, ways: Sequence[Picture]) -> list[Picture]:
    """Filled pictures in the channels of the one that they fill: outside the hole its own pixels, its alpha included."""
    known = ~hole[:, :, None]
    alpha = None if upload.alpha is None else np.where(hole, np.uint8(255), upload.alpha)
    return [in_family_of(upload, np.where(known, upload.pixels, way), alpha) for way in ways]


def encoded(drawing: Drawing, pictures: Sequence[Picture], rendering: Rendering) -> Drawing:
    """A drawing whose pieces are what the format makes of these pictures."""
    made = [
        rendering.each(Drawn(drawing.model, pixels, seed, label, None))
        for pixels, seed, label in zip(pictures, drawing.seeds, drawing.labels, strict=True)
    ]
    return dataclasses.replace(drawing, pieces=made)


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
    drawing = Drawing(answered.model, [], [None], [None], None, answered.queue_ms, answered.inference_ms, 0.0)
    return await reply(request, await engine_of(request).offload(encoded, drawing, [pixels], rendering), rendering)
