"""Routes whose endpoint gets the request itself, and the OpenAPI entries that FastAPI can't read from their signatures."""

from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.codecs import CODECS
from app.deps import FORM_TYPE, MAX_FORMAT
from app.negotiation import JSON, JSON_TYPE
from app.schemas.pictures import PicturesRequest

REFERENCE = "#/components/schemas/{model}"

FORMAT = {
    "name": "format",
    "in": "query",
    "schema": {"type": "string", "maxLength": MAX_FORMAT},
    "description": f"instead of the Accept header: `{JSON}`, {', '.join(f'`{c}`' for c in CODECS)}",
}
DEADLINE = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "schema": {"type": "integer", "minimum": 1},
    "description": "answer within this many ms, or give up with 504",
}


class Direct(APIRoute):
    """A route that `app.shortcut` calls, as `endpoint(request)`. FastAPI has it for the documents."""


def takes_body(model: type[BaseModel], *parameters: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI entry of a JSON body. `app.openapi` adds the schema that it refers to."""
    content = {JSON_TYPE: {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}, "parameters": list(parameters)}


def takes_picture(model: type[PicturesRequest], *parameters: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI entry of a body that brings a picture: a form with a file, or JSON."""
    entry = takes_body(model, *parameters)
    form = model.model_json_schema(ref_template=REFERENCE)
    a_file = {"type": "string", "format": "binary"}
    for name in model.FILES:
        told = form["properties"][name].get("description", "the file")
        form["properties"][name] = {"description": told} | (
            {"type": "array", "items": a_file} if name in model.SEVERAL else a_file
        )
    entry["requestBody"]["content"] = {FORM_TYPE: {"schema": form}, **entry["requestBody"]["content"]}
    return entry


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
