"""Models, as `/v1/models` shows them: a superset of OpenAI's list."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.endpoints import endpoints_of
from app.engine.catalog import Broken, Catalog, Served
from models.tasks import Task


class ModelBody(BaseModel):
    """One version of one model. What can't be known of a broken one is null."""

    id: str = Field(description="what to send as `model`: the name, with @version unless the name alone means this version")
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    task: Task | None
    version: int
    status: Literal["ready", "unavailable"]
    error: str | None = Field(description="why it is unavailable")
    resolution: tuple[int, int] | None = Field(description="height and width, px")
    resolutions: list[int] = Field(description="sides of the pictures that can be asked of a model that draws from latents, px")
    channels: int | None
    latent_dim: int | None
    labels: list[str]
    codes: list[dict[str, Any]]
    default: bool
    metrics: dict[str, float]
    licence: str | None
    size_bytes: int | None = Field(description="of the weights file")


class ModelDetailBody(ModelBody):
    """One model, in full."""

    name: str
    endpoints: list[str] = Field(description="what can be asked of it")
    training: dict[str, Any] | None
    data: dict[str, Any] | None
    metric_details: dict[str, Any] = Field(description="spread, floor, number of pictures and protocol of each metric")


class ModelList(BaseModel):
    """OpenAI's envelope."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


def identifier(catalog: Catalog, entry: Served | Broken) -> str:
    """The shortest reference that means this version."""
    name, version = key_of(entry)
    return name if catalog.entry(name) is entry else f"{name}@{version}"


def key_of(entry: Served | Broken) -> tuple[str, int]:
    """Name and version."""
    return entry.key if isinstance(entry, Served) else (entry.name, entry.version)


def model_fields(catalog: Catalog, entry: Served | Broken) -> dict[str, Any]:
    """The fields of `ModelBody`."""
    fields: dict[str, Any] = {
        "id": identifier(catalog, entry),
        "version": key_of(entry)[1],
        "default": entry is catalog.default(),
        "codes": [],
    }
    if isinstance(entry, Broken):
        nothing = dict.fromkeys(("task", "resolution", "channels", "latent_dim", "licence", "size_bytes"))
        broken = {"created": 0, "owned_by": "ganymede", "status": "unavailable", "error": entry.reason}
        return fields | nothing | broken | {"labels": [], "resolutions": [], "metrics": {}}
    manifest = entry.manifest
    return fields | {
        "created": int(manifest.created.timestamp()),
        "owned_by": manifest.owned_by,
        "task": manifest.task,
        "status": "ready",
        "error": None,
        "resolution": (manifest.output.height, manifest.output.width),
        "resolutions": list(entry.resolutions),
        "channels": manifest.output.channels,
        "latent_dim": entry.z_dim or None,
        "labels": list(manifest.labels),
        "codes": [code.model_dump(mode="json") for code in manifest.codes],
        "metrics": {name: metric.value for name, metric in manifest.metrics.items()},
        "licence": manifest.licence,
        "size_bytes": manifest.weights.size_bytes,
    }


def model_list(catalog: Catalog) -> ModelList:
    """Every version of every model, by name, newest first."""
    entries = sorted(catalog.entries.values(), key=lambda e: (key_of(e)[0], -key_of(e)[1]))
    return ModelList(data=[ModelBody(**model_fields(catalog, e)) for e in entries])


def model_detail(catalog: Catalog, entry: Served | Broken) -> ModelDetailBody:
    """One version of one model."""
    manifest = entry.manifest if isinstance(entry, Served) else None
    return ModelDetailBody(
        **model_fields(catalog, entry),
        name=key_of(entry)[0],
        endpoints=list(endpoints_of(manifest.task, manifest.extras)) if manifest else [],
        training=manifest.training.model_dump(mode="json") if manifest else None,
        data=manifest.data.model_dump(mode="json") if manifest else None,
        metric_details={k: v.model_dump(mode="json") for k, v in manifest.metrics.items()} if manifest else {},
    )
