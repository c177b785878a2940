"""The app, put together. Nothing happens at import."""

from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from app import errors, openapi
from app.lifespan import lifespan
from app.middleware import Auth, Body, RequestContext
from app.routes import ROUTERS
from app.settings import Settings
from app.shortcut import Shortcut
from app.telemetry import Metrics

DESCRIPTION = """Pictures from generative adversarial networks.

A picture is a pure function of model version, seed, label and options: ask twice and get the same bytes.
Choose the format with `Accept` or `?format=`; errors are `application/problem+json` with a stable `type`.
"""


def package_version() -> str:
    """The version of the installed package, or one that says that it runs from a checkout."""
    try:
        return version("ganymede-gan")
    except PackageNotFoundError:
        return "0.0.0+checkout"


def create_app(settings: Settings | None = None) -> FastAPI:
    """Routes, errors and documents. Settings come from the environment if not given; models load when it starts."""
    settings = settings or Settings()
    app = FastAPIOffline(  # /docs with its scripts: it works where no other host can be reached
        static_url="/docs/static",
        title="Ganymede",
        summary="The GAN server",
        description=DESCRIPTION,
        version=package_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        strict_content_type=False,
    )
    app.state.settings = settings
    app.state.metrics = Metrics()
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    openapi.install(app)
    return app


def create_service(settings: Settings | None = None) -> ASGIApp:
    """The app behind what happens to every request. This is what is served.

    Around FastAPI rather than as its middleware, which every request would reach through four layers of its own.
    """
    app = create_app(settings)
    settings = app.state.settings
    routes = [route for router in ROUTERS for route in router.routes]
    service: ASGIApp = Shortcut(app, routes=routes, handlers=app.exception_handlers)
    service = Body(service, settings.max_body_bytes, settings.max_uploads, settings.transfer_seconds)
    service = Auth(service, keys=settings.api_keys, metrics_key=settings.metrics_key)
    return RequestContext(service, metrics=app.state.metrics)
