"""What happens to every request, before any route: an id, a log line, keys, bounds, and giving up when the caller has."""

import asyncio
import functools
import hmac
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RETRY_SOON_S, RequestError, problem_response
from app.headers import header
from app.telemetry import Metrics, RequestLine, log_request

log = logging.getLogger("app.requests")

SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
PIECE_BYTES = 256 * 1024  # of an answer: the next is sent when the caller has taken in most of the last
PATIENCE_S = 0.1  # requests that are answered by then are not watched for a client that goes away
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
        asked = header(scope, b"x-request-id") or ""
        request_id = asked if SANE_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"
        scope.setdefault("state", {})["request_id"] = request_id
        status = CLIENT_GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("ascii"))]
            await send(message)

        began = time.perf_counter()
        self._metrics.requests_in_progress.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("a request failed", extra={"request_id": request_id})
            if status != CLIENT_GONE:  # the answer has begun, and can only be cut off
                raise
            detail = f"the reason is in the server's log under request id {request_id}"
            await problem_response("internal", detail, scope["path"])(scope, receive, send_with_id)
        finally:
            self._metrics.requests_in_progress.dec()
            self._record(scope, request_id, status, time.perf_counter() - began)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        model = scope["state"].get("model", "")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.answered(method, route, status, model, seconds)
        if problem := scope["state"].get("problem"):
            self._metrics.problems.labels(problem).inc()
        level = logging.DEBUG if scope["path"] in OPEN_PATHS else logging.INFO  # probes come every few seconds for ever
        if log.isEnabledFor(level):
            line = RequestLine(request_id, method, scope["path"], route, status, model, round(seconds * 1000, 2))
            log_request(log, level, line)


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
        if keys and not self._has_key(header(scope, b"authorization") or "", keys):
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


class ClientGoneError(Exception):
    """The client went away before its body was complete, or does not read its answer."""


class Body:
    """Reads the body within limits before any route runs, and cancels the route when its client goes away.

    Whoever sends or reads too slowly is cut off, so that a thousand of them hold no memory for long.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int, max_uploads: int, transfer_s: float) -> None:
        self._app = app
        self._limit = limit_bytes
        self._max_uploads = max_uploads
        self._transfer_s = transfer_s
        self._uploads = 0  # bodies of which a part is still to come

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
            await run_while_connected(functools.partial(self._app, scope), body, receive, send, self._transfer_s)
        except ClientGoneError:
            return
        except RequestError as error:
            headers = {"Connection": "close", **(error.headers or {})}  # the rest of the body is not read
            await problem_response(error.slug, str(error), scope["path"], headers)(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises `RequestError` if it is too large, too slow or one too many, and `ClientGoneError`."""
        declared = header(scope, b"content-length") or ""
        if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > self._limit):
            raise self._too_large()
        first = await receive()
        if first["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = first.get("body", b"")
        if not first.get("more_body", False):
            if len(chunk) > self._limit:
                raise self._too_large()
            return chunk
        if self._uploads >= self._max_uploads:
            raise RequestError(
                "overloaded", f"{self._max_uploads} bodies are under way already", {"Retry-After": str(RETRY_SOON_S)}
            )
        self._uploads += 1
        try:
            async with asyncio.timeout(self._transfer_s):
                return await self._rest(chunk, receive)
        except TimeoutError:
            raise RequestError("deadline-exceeded", f"the body did not arrive within {self._transfer_s} s") from None
        finally:
            self._uploads -= 1

    async def _rest(self, first: bytes, receive: Receive) -> bytes:
        chunks, size, more = [first], len(first), True
        while size <= self._limit:
            if not more:
                return b"".join(chunks)
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
        raise self._too_large()

    def _too_large(self) -> RequestError:
        return RequestError("body-too-large", f"a body may have at most {self._limit} bytes")


class _Client:
    """The caller of a request whose body was read already."""

    def __init__(self, body: bytes, receive: Receive, send: Send, transfer_s: float, task: asyncio.Task[Any]) -> None:
        self._transfer_s = transfer_s
        self._unread: bytes | None = body
        self._receive = receive
        self._send = send
        self._task = task
        self._watcher: asyncio.Task[None] | None = None
        self._answered = False

    @functools.cached_property
    def gone(self) -> asyncio.Event:
        """Set when the caller has gone away before its answer was complete."""
        return asyncio.Event()  # few requests need one

    async def receive(self) -> Message:
        """The body; after it, nothing until the caller has gone."""
        if self._unread is not None:
            body, self._unread = self._unread, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Passes a message on, and notes the end of the answer. Raises `ClientGoneError` if the caller doesn't read it."""
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if len(body) <= PIECE_BYTES and not more:  # nearly all: the server keeps what little the caller has yet to read
            self._answered = message["type"] == "http.response.body"
            await self._send(message)
            return
        for at in range(0, len(body), PIECE_BYTES):
            rest = more or at + PIECE_BYTES < len(body)
            self._answered = not rest
            try:
                async with asyncio.timeout(self._transfer_s):
                    await self._send({"type": message["type"], "body": body[at : at + PIECE_BYTES], "more_body": rest})
            except TimeoutError:
                raise ClientGoneError from None

    def watch(self) -> None:
        """From now on, the request is cancelled when its caller goes away."""
        self._watcher = asyncio.create_task(self._watch(), name="disconnect-watcher")

    def stop_watching(self) -> None:
        """The request is over."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # or client, task and traceback would hold each other

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._answered:  # servers report the end of every answer as a disconnect too
            self.gone.set()
            self._task.cancel()


async def run_while_connected(
    run: Callable[[Receive, Send], Awaitable[None]], body: bytes, receive: Receive, send: Send, transfer_s: float
) -> None:
    """Runs an app on a body that was read already, and cancels it if the client disconnects first.

    Looks after the client only when the answer takes a while: for most, a task of its own would cost more than it saves.
    """
    this = asyncio.current_task()
    assert this is not None
    client = _Client(body, receive, send, transfer_s, this)
    watching = asyncio.get_running_loop().call_later(PATIENCE_S, client.watch)
    try:
        await run(client.receive, client.send)
    except asyncio.CancelledError:
        if not client.gone.is_set() or this.uncancel() > 0:
            raise  # the server itself is giving up
    finally:
        watching.cancel()
        client.stop_watching()
