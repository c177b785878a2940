"""The app, put together. Nothing happens at import."""

from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app import errors, openapi
from app.lifespan import lifespan
from app.middleware import Auth, Body, RequestContext
from app.routes import ROUTERS
from app.settings import Settings
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
    """The service as an ASGI app. Settings come from the environment if not given; models load when it starts."""
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
    app.state.metrics = metrics = Metrics()
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    openapi.install(app)
    # the one added last runs first
    app.add_middleware(Body, limit_bytes=settings.max_body_bytes)
    app.add_middleware(Auth, keys=settings.api_keys, metrics_key=settings.metrics_key)
    app.add_middleware(RequestContext, metrics=metrics)
    return app
