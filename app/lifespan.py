"""Starts the engine with the app, and lets it finish its work when the app stops."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from app.datasets.records import Records
from app.datasets.service import Datasets
from app.datasets.spec import Limits
from app.datasets.storage import open_storage
from app.datasets.webhooks import Webhooks
from app.engine.device import open_device
from app.engine.engine import Engine, EngineConfig
from app.settings import Settings
from app.telemetry import flush_log

MB = 2**20
HOUR_S = 3600


def build_engine(app: FastAPI) -> Engine:
    """An engine as the settings want it. Raises `DeviceError`."""
    settings: Settings = app.state.settings
    budget = settings.memory_budget_mb
    config = EngineConfig(
        zoo=settings.models_dir,
        default_model=settings.default_model,
        max_pixels=settings.max_pixels,
        tile_pixels=settings.tile_pixels,
        progress_s=settings.progress_seconds,
        max_queue_pixels=settings.max_queue_pixels,
        memory_budget_bytes=None if budget is None else budget * MB,
        rescan_s=settings.rescan_seconds,
    )
    device = open_device(settings.device, settings.precision, settings.cpu_threads, settings.processes)
    return Engine(config, device, app.state.metrics)


def build_datasets(app: FastAPI, engine: Engine) -> Datasets:
    """The data sets as the settings want them."""
    settings: Settings = app.state.settings
    secret = settings.webhook_secret
    return Datasets(
        engine,
        Records(settings.database),
        open_storage(settings.storage_dir),
        Limits(
            max_pictures=settings.max_dataset_pictures,
            max_jobs=settings.max_datasets,
            quota_bytes=settings.storage_quota_mb * MB,
            retention_s=settings.retention_hours * HOUR_S,
            lesson_pictures=settings.usefulness_pictures,
        ),
        Webhooks(settings.webhook_hosts, None if secret is None else secret.get_secret_value()),
    )


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Serves inside the context."""
    engine = build_engine(app)
    app.state.engine = engine
    app.state.datasets = datasets = build_datasets(app, engine)
    try:
        async with engine.running(), datasets.running():
            if app.state.settings.processes > 1:
                await engine.models_loaded()  # the others answer until then: no caller meets a process without its models
            yield
    finally:
        flush_log()  # a process that is told to stop may end without its own last words
