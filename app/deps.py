"""What routes read from a request: the engine, the format of the answer, the deadline, a validated body or address.

Plain functions of the request rather than FastAPI's dependencies for the routes that draw: solving those takes longer
than a small network. `app.routes.direct` keeps the documents complete without them.
"""

import functools
from collections.abc import Callable
from typing import Annotated, TypeVar, cast

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from app.engine.engine import Engine
from app.errors import RequestError
from app.negotiation import negotiate, offers
from app.settings import Settings

MAX_FORMAT = 100  # characters

M = TypeVar("M", bound=BaseModel)


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


def _invalid(error: ValidationError, where: Callable[[tuple[int | str, ...]], str]) -> RequestValidationError:
    """`where`: which part of the request an error's place is in."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{"loc": (where(e["loc"]), *e["loc"]), "msg": e["msg"]} for e in errors])
