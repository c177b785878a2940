"""The one table from error to reply, and RFC 9457 problem details."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.datasets.errors import NotFinishedError, StorageFullError, TooManyDatasetsError
from app.endpoints import endpoints_of
from app.engine.errors import (
    DeadlineExceededError,
    EngineError,
    EngineStoppedError,
    ExecutionFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    OverloadedError,
    TooLargeError,
    UnknownLabelError,
    UnknownModelError,
    WrongTaskError,
)

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
RETRY_SOON_S = 5  # for what heals by itself: a model that loads, a server that restarts


@dataclass(frozen=True)
class Problem:
    """A kind of problem. `slug` is the `type` that callers program against: it never changes."""

    slug: str
    status: int
    title: str


PROBLEMS = {
    p.slug: p
    for p in (
        Problem("invalid-request", 422, "The request is not valid"),
        Problem("unknown-model", 404, "There is no such model"),
        Problem("wrong-task", 409, "This model can't do that"),
        Problem("unknown-label", 422, "The model has no such label"),
        Problem("bad-image", 422, "The picture can't be read"),
        Problem("image-too-large", 413, "The picture is too large"),
        Problem("body-too-large", 413, "The request's body is too large"),
        Problem("unsupported-media-type", 415, "The request's body is of the wrong type"),
        Problem("not-acceptable", 406, "The answer can't be had in that format"),
        Problem("unauthorized", 401, "A valid API key is needed"),
        Problem("forbidden", 403, "This key may not do that"),
        Problem("rate-limited", 429, "Too many requests"),
        Problem("overloaded", 503, "Too much work is waiting"),
        Problem("model-unavailable", 503, "The model can't be served now"),
        Problem("not-ready", 503, "The service is not ready"),
        Problem("stopping", 503, "The service is shutting down"),
        Problem("deadline-exceeded", 504, "The deadline passed"),
        Problem("unknown-dataset", 404, "There is no such data set"),
        Problem("not-finished", 409, "The data set is not finished"),
        Problem("too-many-datasets", 409, "There are too many data sets"),
        Problem("storage-full", 507, "There is no room for another data set"),
        Problem("not-found", 404, "There is nothing at this address"),
        Problem("method-not-allowed", 405, "This address does not take that method"),
        Problem("internal", 500, "Something went wrong in the service"),
    )
}

SLUG_OF: dict[type[EngineError], str] = {
    InvalidRequestError: "invalid-request",
    UnknownModelError: "unknown-model",
    WrongTaskError: "wrong-task",
    TooLargeError: "image-too-large",
    UnknownLabelError: "unknown-label",
    ModelUnavailableError: "model-unavailable",
    OverloadedError: "overloaded",
    DeadlineExceededError: "deadline-exceeded",
    EngineStoppedError: "stopping",
    ExecutionFailedError: "internal",
    StorageFullError: "storage-full",
    TooManyDatasetsError: "too-many-datasets",
    NotFinishedError: "not-finished",
}

# what starlette and fastapi raise by themselves
SLUG_OF_STATUS = {400: "invalid-request", 404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}


class RequestError(Exception):
    """What the HTTP layer itself refuses."""

    def __init__(self, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.slug = slug
        self.headers = headers


class ProblemResponse(Response):
    """A problem as a reply, which tells the metrics what it is."""

    def __init__(self, slug: str, content: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(content, PROBLEMS[slug].status, dict(headers), media_type=PROBLEM_JSON)
        self.slug = slug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["problem"] = self.slug
        await super().__call__(scope, receive, send)


def problem_response(
    slug: str,
    detail: str,
    instance: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, Any]] | None = None,
) -> Response:
    """A problem as a reply. `instance`: the path that was asked for."""
    problem = PROBLEMS[slug]
    body: dict[str, Any] = {
        "type": slug,
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": instance,
    }
    if errors is not None:
        body["errors"] = list(errors)
    # escaped to ASCII: what callers send, and we quote, may hold lone surrogates, which UTF-8 can't carry
    content = json.dumps(body, ensure_ascii=True).encode("ascii")
    return ProblemResponse(slug, content, headers or {})


def install(app: FastAPI) -> None:
    """Registers a handler for everything that a route or the framework raises on purpose."""
    app.add_exception_handler(EngineError, on_engine_error)
    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


async def on_engine_error(request: Request, error: Exception) -> Response:
    """A problem for what the engine refused or failed to do."""
    assert isinstance(error, EngineError)
    if error.model is not None:
        request.state.model = error.model[0]
    return engine_problem(error, request.url.path, "query" if request.method in ("GET", "HEAD") else "body")


def engine_problem(error: EngineError, instance: str, place: str = "body") -> Response:
    """What the engine refused or failed to do, as a problem. `place`: the part of the request that it is about."""
    headers: dict[str, str] = {}
    detail, errors = str(error), None
    if isinstance(error, WrongTaskError):
        detail += f": use {next(iter(endpoints_of(error.task)), 'another model')} (its `endpoints` lists all it serves)"
    elif isinstance(error, InvalidRequestError):
        errors = [{"loc": [place, *error.field.split(".")], "msg": str(error)}]
    elif isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, ModelUnavailableError | EngineStoppedError):
        headers["Retry-After"] = str(RETRY_SOON_S)
    if error.model is not None:
        headers |= {"X-Model": error.model[0], "X-Model-Version": str(error.model[1])}
    return problem_response(SLUG_OF[type(error)], detail, instance, headers, errors)


async def on_request_error(request: Request, error: Exception) -> Response:
    """A problem for what the HTTP layer refused."""
    assert isinstance(error, RequestError)
    return problem_response(error.slug, str(error), request.url.path, error.headers)


async def on_validation_error(request: Request, error: Exception) -> Response:
    """A problem for what does not fit a schema."""
    assert isinstance(error, RequestValidationError)
    return validation_problem(error.errors(), request.url.path)


def validation_problem(found: Sequence[Any], instance: str) -> Response:
    """Where the request is wrong, and how; never what it said: that may be NaN, huge or secret."""
    errors = [{"loc": list(e["loc"]), "msg": e["msg"]} for e in found]
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}{more}".removeprefix(": ")
    return problem_response("invalid-request", detail, instance, errors=errors[:100])


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown addresses, wrong methods and bodies that are no JSON at all, as the framework finds them."""
    assert isinstance(error, HTTPException)
    slug = SLUG_OF_STATUS.get(error.status_code, "invalid-request" if error.status_code < 500 else "internal")
    details = {
        "not-found": f"there is nothing at {request.url.path[:200]}; /docs lists what there is",
        "method-not-allowed": f"{request.url.path[:200]} does not take {request.method}",
        "invalid-request": "the body can't be read as JSON",
    }
    errors = [{"loc": ["body"], "msg": details[slug]}] if slug == "invalid-request" else None
    return problem_response(slug, details.get(slug, str(error.detail)), request.url.path, error.headers, errors)
