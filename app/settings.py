"""Every environment variable of the service: its type, bounds, default and help."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.engine.options import DeviceName, Precision

PREFIX = "GANYMEDE_"
STORAGES = ("s3", "gs", "abfss", "hdfs")  # of which Arrow has file systems; it takes a while to be asked itself
OF_OTHERS = frozenset({"GANYMEDE_DATA"})  # the tools beside the service have variables too


class Settings(BaseSettings):
    """Settings from `GANYMEDE_*`. Raises pydantic's ValidationError, which names the variable, for a bad value."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; the container sets 0.0.0.0")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one and logs it")
    models_dir: Path = Field(Path("models/zoo"), description="folder of published models, `<name>/<version>/`")
    default_model: str = Field(
        "fashion",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="name of the model used where a request names none; if the zoo lacks it, the first by name",
    )
    rescan_seconds: float = Field(2.0, ge=0.05, le=3600, description="how often to look for new or removed models")
    device: DeviceName = Field("auto", description="`cpu`, `cuda`, or `auto`: a GPU where there is one")
    precision: Precision = Field(
        "auto", description="`float32`, `bfloat16`, or `auto`: bfloat16 where the hardware computes in it"
    )
    cpu_threads: int | None = Field(
        None,
        ge=1,
        le=256,
        description="batches that a process draws side by side on the CPU; default: its cores, at most 8",
    )
    processes: int = Field(
        1,
        ge=1,
        le=256,
        description="processes that share the port, each with all models: for small networks on many cores",
    )
    memory_budget_mb: int | None = Field(
        None,
        ge=1,
        description="memory for weights; models used least recently make room, and are read again when asked for; no limit",
    )
    max_pixels: int = Field(2**24, ge=64, description="pixels that one request may send or ask for (pictures × height × width)")
    tile_pixels: int = Field(
        2**15, ge=2**10, description="pixels of a picture that a network is given at a time; less takes less memory"
    )
    progress_seconds: float = Field(
        5.0, ge=0.01, le=3600, description="how often the log tells how far a picture of many tiles has come"
    )
    max_pictures_held: int = Field(
        16, ge=1, le=10_000, description="pictures sent by callers and worked on at a time; more are refused with 503"
    )
    max_queue_pixels: int = Field(
        2**25, ge=64, description="pixels waiting or being drawn, of all requests; more is refused with 503"
    )
    max_frames: int = Field(1920, ge=2, le=100_000, description="frames that one interpolation may have")
    deadline_ms: int = Field(
        60_000, ge=1, le=3_600_000, description="time for a request that sends no X-Deadline-Ms; the most it may ask for"
    )
    storage_dir: str = Field(
        "storage", min_length=1, description="where data sets are kept: a folder, or a URL that Arrow opens, such as s3://…"
    )
    database_url: SecretStr | None = Field(
        None, description="of the data sets' database, as SQLAlchemy has it; default: SQLite in GANYMEDE_STORAGE_DIR"
    )
    storage_quota_mb: int = Field(10_000, ge=1, description="room for all data sets; a job that finds none left pauses")
    retention_hours: float = Field(168.0, gt=0, description="how long a data set is kept after its end")
    max_dataset_pictures: int = Field(1_000_000, ge=1, description="pictures in one data set")
    max_datasets: int = Field(100, ge=1, description="data sets at a time, finished ones included")
    usefulness_pictures: int = Field(
        60_000,
        ge=64,
        description="pictures that each classifier learns from, with repetition, where a data set's worth is measured",
    )
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated hosts (`example.org`, `example.org:8443`) that may be told of a data set's end"
    )
    webhook_secret: SecretStr | None = Field(
        None,
        min_length=8,
        description="key that such messages are signed with, as Standard Webhooks have it (whsec_… or any text)",
    )
    max_streams: int = Field(64, ge=0, le=10_000, description="WebSocket streams open at a time; more are refused with 503")
    max_body_bytes: int = Field(16 * 2**20, ge=1024, description="size of the largest body, and of a stream's message")
    max_uploads: int = Field(
        64, ge=1, le=100_000, description="bodies that may be under way at a time; more are refused with 503"
    )
    transfer_seconds: int = Field(
        30, ge=1, le=3600, description="time for a body to arrive, and for a caller to take in each 256 KiB of an answer"
    )
    shutdown_seconds: int = Field(30, ge=1, le=3600, description="how long a stopping server lets accepted requests finish")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="comma-separated keys; if set, everything but /healthz and /readyz needs one as a bearer token"
    )
    metrics_key: SecretStr | None = Field(None, description="a key of its own for /metrics, instead of the API keys")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least level that is logged")

    @field_validator("api_keys", "webhook_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(k.strip() for k in value.split(",") if k.strip()) if isinstance(value, str) else value

    @field_validator("cpu_threads", "memory_budget_mb", "metrics_key", "database_url", "webhook_secret", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value  # compose files pass unset variables on as empty ones

    @field_validator("log_level", "device", "precision", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("storage_dir")
    @classmethod
    def _is_a_known_place(cls, value: str) -> str:
        scheme, is_url, _ = value.partition("://")
        if is_url and scheme not in STORAGES:
            raise ValueError(f"files can be kept in a folder or under {', '.join(f'{s}://' for s in STORAGES)}")
        return value

    @property
    def database(self) -> str:
        """The URL of the data sets' database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if "://" in self.storage_dir:
            raise ValueError(f"{PREFIX}STORAGE_DIR is a URL, so {PREFIX}DATABASE_URL has to say where the database is")
        return f"sqlite:///{self.storage_dir}/ganymede.db"

    @model_validator(mode="after")
    def _has_a_database(self) -> Self:
        _ = self.database
        return self

    @model_validator(mode="after")
    def _queue_holds_a_request(self) -> Self:
        if self.max_queue_pixels < self.max_pixels:
            raise ValueError(f"{PREFIX}MAX_QUEUE_PIXELS must be at least {PREFIX}MAX_PIXELS: the largest request has to fit in")
        return self


def variables() -> list[tuple[str, str, str]]:
    """Every variable as (name, default as it would be written, help)."""

    def written(default: Any) -> str:
        return "" if default is None or default == () else str(default)

    return [(PREFIX + n.upper(), written(f.default), f.description or "") for n, f in Settings.model_fields.items()]


def as_text() -> str:
    """The table of variables for a terminal."""
    rows = variables()
    wide, wide_default = max(len(r[0]) for r in rows), max(len(r[1]) for r in rows)
    return "\n".join(f"  {name:{wide}}  {default:{wide_default}}  {text}" for name, default, text in rows)


def as_markdown() -> str:
    """The table of variables for the documents."""
    rows = (f"| `{name}` | {f'`{default}`' if default else '–'} | {text} |" for name, default, text in variables())
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def unknown_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Set variables that look like settings and are none, each with the nearest valid name."""
    known = [name.removeprefix(PREFIX) for name, _, _ in variables()]
    given = {n: n.upper().removeprefix(PREFIX) for n in sorted(environment) if n.upper().startswith(PREFIX)}
    strange = {n: short for n, short in given.items() if short not in known and n not in OF_OTHERS}
    nearest = {n: next(iter(difflib.get_close_matches(short, known, n=1)), None) for n, short in strange.items()}
    return {n: None if name is None else PREFIX + name for n, name in nearest.items()}
