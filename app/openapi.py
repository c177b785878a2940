"""The OpenAPI document, corrected where the framework's own would mislead."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.errors import PROBLEM_JSON
from app.routes.direct import REFERENCE
from app.schemas.generation import ArithmeticRequest, GenerateRequest, InterpolateRequest, SampleRequest
from app.schemas.pictures import (
    ClassifyRequest,
    DiscriminateRequest,
    InpaintRequest,
    ProjectRequest,
    TranslateRequest,
    UpscaleRequest,
)

JSON_TYPE = "application/json"
BODIES: tuple[type[BaseModel], ...] = (
    SampleRequest, GenerateRequest, InterpolateRequest, ArithmeticRequest, TranslateRequest, UpscaleRequest,
    InpaintRequest, ProjectRequest, DiscriminateRequest, ClassifyRequest,
)  # fmt: skip


def describe(app: FastAPI) -> dict[str, Any]:
    """The document: problems have their own media type, and keys are asked for where they are configured."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=app.description, routes=app.routes
    )
    _, definitions = models_json_schema([(m, "validation") for m in BODIES], ref_template=REFERENCE)
    document["components"]["schemas"] |= definitions["$defs"]
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                content = response.get("content", {})
                if PROBLEM_JSON in content:
                    response["content"] = {PROBLEM_JSON: content[JSON_TYPE]}
    if app.state.settings.api_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def install(app: FastAPI) -> None:
    """Makes `/openapi.json` show `describe`, made once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI's documents give
