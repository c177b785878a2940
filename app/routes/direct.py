"""Routes whose endpoint gets the request itself, and the OpenAPI entries that FastAPI can't read from their signatures."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response

from app.codecs import CODECS
from app.negotiation import JSON, JSON_TYPE

REFERENCE = "#/components/schemas/{model}"

FORMAT = {
    "name": "format",
    "in": "query",
    "schema": {"type": "string", "maxLength": 100},
    "description": f"instead of the Accept header: `{JSON}`, {', '.join(f'`{c}`' for c in CODECS)}",
}
DEADLINE = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "schema": {"type": "integer", "minimum": 1},
    "description": "answer within this many ms, or give up with 504",
}


class Direct(APIRoute):
    """Calls `endpoint(request)` with nothing in between."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def takes_body(model: type[BaseModel], *parameters: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI entry of a JSON body. `app.openapi` adds the schema that it refers to."""
    content = {JSON_TYPE: {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}, "parameters": list(parameters)}


def takes_address(model: type[BaseModel], path: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI entry of path and query parameters: the fields of a model."""
    schema = model.model_json_schema(ref_template=REFERENCE)
    required = schema.get("required", ())
    own = [
        {
            "name": name,
            "in": "path" if f"{{{name}}}" in path else "query",
            "required": name in required,
            "schema": {k: v for k, v in of.items() if k not in {"description", "title"}},
            "description": of.get("description", ""),
        }
        for name, of in schema["properties"].items()
    ]
    return {"parameters": [*own, *parameters]}
