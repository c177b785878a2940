"""The short way to the routes that draw: past FastAPI's router, whose way takes longer than a small network.

The same endpoints, errors and answers; FastAPI keeps their entries in the documents. What is not found here goes the long way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from starlette.routing import BaseRoute, compile_path
from starlette.types import Receive, Scope, Send

from app.routes.direct import Direct

Handlers = Mapping[Any, Callable[[Request, Any], Any]]  # all of ours are coroutines


@dataclass(frozen=True)
class Way:
    """One route: a pattern for its path, and what answers it."""

    route: Direct
    pattern: Any  # a compiled regular expression whose groups are the path's parameters


class Shortcut:
    """Answers requests for `Direct` routes itself, and hands on every other."""

    def __init__(self, app: FastAPI, routes: Sequence[BaseRoute], handlers: Handlers) -> None:
        self._app = app
        self._handlers = handlers
        direct = [route for route in routes if isinstance(route, Direct)]
        self._ways = {
            method: [Way(route, compile_path(route.path)[0]) for route in direct if method in (route.methods or ())]
            for method in {method for route in direct for method in route.methods or ()}
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        way, parameters = found
        scope.update(app=self._app, route=way.route, path_params=parameters)
        request = Request(scope, receive, send)
        try:
            response = await way.route.endpoint(request)
        except Exception as error:
            handler = next((self._handlers[kind] for kind in type(error).__mro__ if kind in self._handlers), None)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Way, dict[str, str]] | None:
        for way in self._ways.get(scope["method"], ()):
            if match := way.pattern.match(scope["path"]):
                return way, match.groupdict()
        return None
