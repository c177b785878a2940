"""What routes ask for: the engine, the settings, the format of the answer, the deadline.

All `async`, though none of them waits: FastAPI runs plain functions in threads, which costs more than they do.
"""

from typing import Annotated, cast

from fastapi import Depends, Header, Query, Request

from app.codecs import CODECS
from app.engine.engine import Engine
from app.errors import RequestError
from app.negotiation import JSON, negotiate, offers
from app.settings import Settings


async def get_engine(request: Request) -> Engine:
    """The engine that the lifespan started."""
    return cast(Engine, request.app.state.engine)


async def get_settings(request: Request) -> Settings:
    """The settings that the app was created with."""
    return cast(Settings, request.app.state.settings)


EngineDep = Annotated[Engine, Depends(get_engine)]
SettingsDep = Annotated[Settings, Depends(get_settings)]

FormatQuery = Annotated[
    str | None,
    Query(description=f"instead of the Accept header: `{JSON}`, {', '.join(f'`{c}`' for c in CODECS)}", max_length=100),
]
AcceptHeader = Annotated[str | None, Header(include_in_schema=False)]


async def picture_format(format: FormatQuery = None, accept: AcceptHeader = None) -> str:
    """The format for separate pictures. Raises `not-acceptable`."""
    return negotiate(format, accept, offers(moving=False))


async def frames_format(format: FormatQuery = None, accept: AcceptHeader = None) -> str:
    """The format for the frames of a film. Raises `not-acceptable`."""
    return negotiate(format, accept, offers(moving=True))


PictureFormat = Annotated[str, Depends(picture_format)]
FramesFormat = Annotated[str, Depends(frames_format)]


async def get_timeout_s(
    settings: SettingsDep,
    x_deadline_ms: Annotated[int | None, Header(ge=1, description="answer within this many ms, or give up with 504")] = None,
) -> float:
    """How long this request may take, seconds. The caller's deadline can only shorten the server's."""
    return min(x_deadline_ms or settings.deadline_ms, settings.deadline_ms) / 1000


TimeoutDep = Annotated[float, Depends(get_timeout_s)]


async def require_json(request: Request) -> None:
    """Refuses bodies that say they are something else than JSON."""
    given = request.headers.get("content-type", "application/json")
    kind = given.partition(";")[0].strip().lower()
    if not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        raise RequestError("unsupported-media-type", f"send JSON with Content-Type: application/json, not '{kind[:100]}'")


RequireJson = Depends(require_json)
