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
from app.headers import header
from app.negotiation import negotiate, offers
from app.schemas.pictures import PicturesRequest
from app.settings import Settings

FORM_TYPE = "multipart/form-data"
MAX_FORMAT = 100  # characters
MAX_FIELDS = 32  # of a form
MAX_FIELD_BYTES = 64 * 1024  # of a form's field that is no file

M = TypeVar("M", bound=BaseModel)
P = TypeVar("P", bound=PicturesRequest)


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
    asked = header(request.scope, b"x-deadline-ms")
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
        return model.model_validate({**request.query_params, **path} if request.scope["query_string"] else path)
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
async def pictures_of(
    request: Request, model: type[P], most_pixels: Callable[[P], int] | None = None
) -> AsyncIterator[tuple[P, list[Upload]]]:
    """A request's body, from a form or from JSON, and the pictures that it brings, decoded; of a limited number of requests.

    All pictures of a request together have no more pixels than one may have: as many as a request may send, or as
    `most_pixels` says. Raises `overloaded`, `unsupported-media-type`, `invalid-request`, `bad-image` or `image-too-large`.
    """
    settings = settings_of(request)
    with request.app.state.metrics.picture_held() as held:
        if held > settings.max_pictures_held:
            detail = f"{settings.max_pictures_held} pictures are being worked on already"
            raise RequestError("overloaded", detail, {"Retry-After": str(RETRY_SOON_S)})
        form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM_TYPE
        body = await _form_of(request, model) if form else await body_of(request, model)
        files, uploads = body.files(), []
        left = settings.max_pixels if most_pixels is None else most_pixels(body)
        for name, data in files.items():
            where = "" if len(files) == 1 else f"{name}: "
            try:
                upload = await engine_of(request).offload(read_picture, data, max_pixels=left)
            except PictureTooLargeError as error:
                raise RequestError("image-too-large", f"{where}{error}") from None
            except UnsupportedPictureError as error:
                raise RequestError("unsupported-media-type", f"{where}{error}") from None
            except PictureError as error:
                raise RequestError("bad-image", f"{where}{error}") from None
            left -= upload.pixels.shape[0] * upload.pixels.shape[1]
            uploads.append(upload)
        yield body, uploads


async def read(value: UploadFile | str) -> bytes | str:
    """A form's field: of a file, what is in it."""
    return await value.read() if isinstance(value, UploadFile) else value


async def _form_of(request: Request, model: type[P]) -> P:
    """The fields of a multipart form. Raises `invalid-request`."""
    try:
        async with request.form(max_files=MAX_FIELDS, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES) as form:
            given = {name: [await read(value) for value in form.getlist(name)] for name in form}
    except HTTPException as error:  # what Starlette makes of a form that it can't read
        raise RequestValidationError([{"loc": ("body",), "msg": str(error.detail)}]) from None
    twice = [name for name, values in given.items() if len(values) > 1 and name not in model.SEVERAL]
    if twice:
        raise RequestValidationError([{"loc": ("body", twice[0]), "msg": "given more than once"}])
    for name in model.FILES:
        if any(isinstance(value, str) for value in given.get(name, ())):
            wrong = f"send the picture as a file (curl -F {name}=@picture.png), and not as text"
            raise RequestValidationError([{"loc": ("body", name), "msg": wrong}])
    fields = {name: values if len(values) > 1 else values[0] for name, values in given.items()}
    try:
        return model.model_validate(fields, strict=False)  # numbers come as text
    except ValidationError as error:
        raise _invalid(error, lambda _: "body") from None


def _invalid(error: ValidationError, where: Callable[[tuple[int | str, ...]], str]) -> RequestValidationError:
    """`where`: which part of the request an error's place is in."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{"loc": (where(e["loc"]), *e["loc"]), "msg": e["msg"]} for e in errors])
