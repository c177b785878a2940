"""For those who run the service: liveness, readiness, metrics, and the way to the documents."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.deps import EngineDep
from app.errors import RETRY_SOON_S, RequestError
from app.routes.replies import problems

router = APIRouter(tags=["operations"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Alive: the event loop turns."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=problems("not-ready"))
async def readyz(engine: EngineDep) -> Response:
    """Ready: the default model is warm."""
    reason = engine.why_not_ready()
    if reason is not None:
        raise RequestError("not-ready", reason, {"Retry-After": str(RETRY_SOON_S)})
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(engine: EngineDep, request: Request) -> Response:
    """Prometheus metrics."""
    engine.note_age()
    return Response(request.app.state.metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/", include_in_schema=False)
async def home() -> Response:
    """To the documents."""
    return RedirectResponse("/docs")
