"""What routes read from a request: the engine, the format of the answer, the deadline, a validated body or address.

Plain functions of the request rather than FastAPI's dependencies for the routes that draw: solving those takes longer
than a small network. `app.routes.direct` keeps the documents complete without them.
"""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar, cast

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from app.codecs.upload import PictureError, PictureTooLargeError, UnsupportedPictureError, Upload, read_picture
from app.engine.engine import Engine
from app.errors import RETRY_SOON_S, RequestError
from app.negotiation import negotiate, offers
from app.schemas.pictures import PictureRequest
from app.settings import Settings

FORM_TYPE = "multipart/form-data"
MAX_FORMAT = 100  # characters
MAX_FIELDS = 32  # of a form
MAX_FIELD_BYTES = 64 * 1024  # of a form's field that is no file

M = TypeVar("M", bound=BaseModel)
P = TypeVar("P", bound=PictureRequest)


async def get_engine(request: Request) -> Engine:
    """The engine that the lifespan started, as a dependency. `async` because FastAPI runs plain functions in threads."""
    return engine_of(request)


EngineDep = Annotated[Engine, Depends(get_engine)]


def engine_of(request: Request) -> Engine:
    """The engine that the lifespan started."""
    return cast(Engine, request.app.state.engine)


def settings_of(request: Request) -> Settings:
    """The settings that the app was created with."""
    return cast(Settings, request.app.state.settings)


def format_of(request: Request, *, moving: bool) -> str:
    """The format for separate pictures, or for the frames of a film. Raises `not-acceptable`."""
    wanted, accept = request.query_params.get("format"), request.headers.get("accept")
    if wanted is not None and len(wanted) > MAX_FORMAT:
        raise RequestValidationError([{"loc": ("query", "format"), "msg": f"at most {MAX_FORMAT} characters"}])
    return _negotiated(wanted, accept, moving)


@functools.lru_cache(maxsize=256)  # callers say the same thing again and again
def _negotiated(wanted: str | None, accept: str | None, moving: bool) -> str:
    return negotiate(wanted, accept, offers(moving=moving))


def timeout_of(request: Request) -> float:
    """How long this request may take, seconds. The caller's deadline can only shorten the server's."""
    most: int = settings_of(request).deadline_ms
    asked = request.headers.get("x-deadline-ms")
    if asked is None:
        return most / 1000
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 18 and int(asked) >= 1):
        wrong = {"loc": ("header", "x-deadline-ms"), "msg": "give a whole number of milliseconds, from 1"}
        raise RequestValidationError([wrong])
    return min(int(asked), most) / 1000


def address_of(request: Request, model: type[M]) -> M:
    """The path's and the query's parameters. Raises `invalid-request`."""
    path = request.path_params
    try:
        return model.model_validate({**request.query_params, **path})
    except ValidationError as error:
        raise _invalid(error, lambda loc: "path" if loc[0] in path else "query") from None


async def body_of(request: Request, model: type[M]) -> M:
    """The JSON body. Raises `unsupported-media-type` or `invalid-request`."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        raise RequestError("unsupported-media-type", f"send JSON with Content-Type: application/json, not '{kind[:100]}'")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise _invalid(error, lambda _: "body") from None


@contextlib.asynccontextmanager
async def picture_of(request: Request, model: type[P]) -> AsyncIterator[tuple[P, Upload]]:
    """A request's body, from a form or from JSON, and the picture that it brings, decoded; one of a limited number at a time.

    Raises `overloaded`, `unsupported-media-type`, `invalid-request`, `bad-image` or `image-too-large`.
    """
    settings = settings_of(request)
    with request.app.state.metrics.picture_held() as held:
        if held > settings.max_pictures_held:
            detail = f"{settings.max_pictures_held} pictures are being worked on already"
            raise RequestError("overloaded", detail, {"Retry-After": str(RETRY_SOON_S)})
        form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM_TYPE
        body = await _form_of(request, model) if form else await body_of(request, model)
        try:
            upload = await engine_of(request).offload(read_picture, body.image, max_pixels=settings.max_pixels)
        except PictureTooLargeError as error:
            raise RequestError("image-too-large", str(error)) from None
        except UnsupportedPictureError as error:
            raise RequestError("unsupported-media-type", str(error)) from None
        except PictureError as error:
            raise RequestError("bad-image", str(error)) from None
        yield body, upload


async def _form_of(request: Request, model: type[M]) -> M:
    """The fields of a multipart form. Raises `invalid-request`."""
    try:
        async with request.form(max_files=MAX_FIELDS, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES) as form:
            twice = [name for name in form if len(form.getlist(name)) > 1]
            if twice:
                raise RequestValidationError([{"loc": ("body", twice[0]), "msg": "given more than once"}])
            fields = {k: await v.read() if isinstance(v, UploadFile) else v for k, v in form.items()}
    except HTTPException as error:  # what Starlette makes of a form that it can't read
        raise RequestValidationError([{"loc": ("body",), "msg": str(error.detail)}]) from None
    if isinstance(fields.get("image"), str):
        wrong = "send the picture as a file (curl -F image=@picture.png), and not as text"
        raise RequestValidationError([{"loc": ("body", "image"), "msg": wrong}])
    try:
        return model.model_validate(fields, strict=False)  # numbers come as text
    except ValidationError as error:
        raise _invalid(error, lambda _: "body") from None


def _invalid(error: ValidationError, where: Callable[[tuple[int | str, ...]], str]) -> RequestValidationError:
    """`where`: which part of the request an error's place is in."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{"loc": (where(e["loc"]), *e["loc"]), "msg": e["msg"]} for e in errors])
