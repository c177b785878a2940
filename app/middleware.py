"""What happens to every request, before any route: an id, a log line, keys, bounds, and giving up when the caller has."""

import asyncio
import functools
import hmac
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable

from fastapi.datastructures import Headers
from pydantic import SecretStr
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import problem_response
from app.telemetry import Metrics

log = logging.getLogger("app.requests")

SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
CLIENT_GONE = 499  # as nginx logs it; nobody is there to read it


class RequestContext:
    """Gives each request its id, measures and logs it, and turns what nobody expected into a 500 without a traceback."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if SANE_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"
        scope.setdefault("state", {})["request_id"] = request_id
        status = CLIENT_GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        began = time.perf_counter()
        with self._metrics.requests_in_progress.track_inprogress():
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                log.exception("a request failed", extra={"request_id": request_id})
                if status != CLIENT_GONE:  # the answer has begun, and can only be cut off
                    raise
                detail = f"the reason is in the server's log under request id {request_id}"
                await problem_response("internal", detail, scope["path"])(scope, receive, send_with_id)
            finally:
                self._record(scope, request_id, status, time.perf_counter() - began)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        model = scope["state"].get("model", "")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(method, route, str(status), model).inc()
        self._metrics.request_seconds.labels(route, model).observe(seconds)
        details = {"request_id": request_id, "method": method, "path": scope["path"], "route": route, "status": status}
        level = logging.DEBUG if scope["path"] in OPEN_PATHS else logging.INFO  # probes come every few seconds for ever
        log.log(level, "request", extra=details | {"model": model, "ms": round(seconds * 1000, 2)})


class Auth:
    """Refuses requests without a valid key, where keys are configured."""

    def __init__(self, app: ASGIApp, keys: tuple[SecretStr, ...], metrics_key: SecretStr | None) -> None:
        self._app = app
        self._keys = [k.get_secret_value().encode() for k in keys]
        self._metrics_keys = [metrics_key.get_secret_value().encode()] if metrics_key else self._keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        keys = self._metrics_keys if scope["path"] == "/metrics" else self._keys
        if keys and not self._has_key(Headers(scope=scope).get("authorization", ""), keys):
            headers = {"WWW-Authenticate": 'Bearer realm="ganymede"'}
            detail = "send a valid key as `Authorization: Bearer …`"
            await problem_response("unauthorized", detail, scope["path"], headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _has_key(authorization: str, keys: list[bytes]) -> bool:
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode()
        # every key is compared in constant time, so that the time taken tells nothing
        found = [hmac.compare_digest(given, key) for key in keys]
        return scheme.lower() == "bearer" and any(found)


class BodyTooLargeError(Exception):
    """The body has more bytes than the limit."""


class ClientGoneError(Exception):
    """The client went away before its body was complete."""


class Body:
    """Reads the body up to a limit before any route runs, and cancels the route when its client goes away."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            detail = f"a body may have at most {self._limit} bytes"
            headers = {"Connection": "close"}  # the rest of the body is not read
            await problem_response("body-too-large", detail, scope["path"], headers)(scope, receive, send)
            return
        await run_while_connected(functools.partial(self._app, scope), body, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > self._limit):
            raise BodyTooLargeError
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._limit:
                raise BodyTooLargeError
            if not message.get("more_body", False):
                return b"".join(chunks)


async def run_while_connected(
    run: Callable[[Receive, Send], Awaitable[None]], body: bytes, receive: Receive, send: Send
) -> None:
    """Runs an app on a body that was read already, and cancels it if the client disconnects first."""
    this = asyncio.current_task()
    assert this is not None
    gone = asyncio.Event()
    unread = [body]
    answered = False

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not answered:  # servers report the end of every answer as a disconnect too
            gone.set()
            this.cancel()

    async def send_noting_the_end(message: Message) -> None:
        nonlocal answered
        answered = message["type"] == "http.response.body" and not message.get("more_body", False)
        await send(message)

    async def receive_read() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    watcher = asyncio.create_task(watch(), name="disconnect-watcher")
    try:
        await run(receive_read, send_noting_the_end)
    except asyncio.CancelledError:
        if not gone.is_set() or this.uncancel() > 0:
            raise  # the server itself is giving up
    finally:
        watcher.cancel()
