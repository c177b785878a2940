"""`WS /v1/stream`: a picture for every message, as soon as it can be had. What is late is dropped, never queued."""

import asyncio
import contextlib
import logging
from dataclasses import replace

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from app.answers import Rendering
from app.engine.engine import Engine
from app.engine.errors import EngineError
from app.engine.orders import BetweenOrder
from app.errors import RETRY_SOON_S, RequestError, engine_problem, problem_response, validation_problem
from app.negotiation import negotiate, offers
from app.schemas.generation import StreamFrame
from app.settings import Settings
from app.telemetry import Metrics

log = logging.getLogger(__name__)

router = APIRouter()

PICTURES = {name: kind for name, kind in offers(moving=False).items() if kind.startswith("image/") or name == "npy"}


class Newest:
    """A place for one message: a newer one takes it from one that nobody has fetched yet."""

    def __init__(self) -> None:
        self._message: str | None = None
        self._there = asyncio.Event()

    def put(self, message: str) -> bool:
        """Leaves a message. False if an older one was thrown away for it."""
        free = self._message is None
        self._message = message
        self._there.set()
        return free

    async def fetch(self) -> str:
        """Waits for a message, and takes it."""
        await self._there.wait()
        self._there.clear()
        message, self._message = self._message, None
        assert message is not None
        return message


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Each message is a `StreamFrame`; each answer one picture (`?format=`, PNG by default), or a problem as text."""
    settings: Settings = socket.app.state.settings
    metrics: Metrics = socket.app.state.metrics
    try:
        format_name = negotiate(socket.query_params.get("format", "png"), None, PICTURES)
        if metrics.open_streams >= settings.max_streams:
            detail = f"{settings.max_streams} streams are open, and no more are allowed"
            raise RequestError("overloaded", detail, {"Retry-After": str(RETRY_SOON_S)})
    except RequestError as error:
        await socket.send_denial_response(problem_response(error.slug, str(error), socket.url.path, error.headers))
        return
    await socket.accept()
    newest = Newest()
    with metrics.stream_open():
        answering = asyncio.create_task(answer(socket, newest, format_name), name="stream")
        try:
            while not answering.done():
                if not newest.put(await socket.receive_text()):
                    metrics.stream_messages.labels("dropped").inc()
        except (WebSocketDisconnect, KeyError):  # KeyError: the message was bytes
            pass
        finally:
            answering.cancel()
            (end,) = await asyncio.gather(answering, return_exceptions=True)
            if not isinstance(end, asyncio.CancelledError | WebSocketDisconnect):
                log.error("a stream broke off", exc_info=end)
    with contextlib.suppress(RuntimeError):  # the client has closed it already
        await socket.close(1003, "messages are JSON, as text")


async def answer(socket: WebSocket, newest: Newest, format_name: str) -> None:
    """Draws the newest message, sends the picture, and looks again. Sending waits while the client doesn't read."""
    engine: Engine = socket.app.state.engine
    metrics: Metrics = socket.app.state.metrics
    timeout_s = socket.app.state.settings.deadline_ms / 1000
    rendering = Rendering(format_name, 1)
    while True:
        message = await newest.fetch()
        try:
            order = StreamFrame.model_validate_json(message).order()
            if isinstance(order, BetweenOrder):
                drawing = await engine.between(order, timeout_s, rendering.each)
            else:
                drawing = await engine.any_task(order, timeout_s, replace(rendering, codes=order.codes).each)
        except ValidationError as error:
            problem = validation_problem(error.errors(include_url=False, include_input=False), socket.url.path)
        except EngineError as error:
            problem = engine_problem(error, socket.url.path)
        else:
            await socket.send_bytes(rendering.join(drawing).body)
            metrics.stream_messages.labels("answered").inc()
            continue
        await socket.send_text(bytes(problem.body).decode("ascii"))
        metrics.stream_messages.labels("refused").inc()
