"""The models that this server has."""

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from app.deps import EngineDep
from app.errors import RequestError
from app.routes.replies import BINARY, Responses, problems
from app.schemas.catalog import ModelDetailBody, ModelList, key_of, model_detail, model_list

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models")
async def list_models(engine: EngineDep) -> ModelList:
    """Every version of every model, broken ones with the reason."""
    return model_list(engine.catalog)


@router.get("/models/{id}", responses=problems("unknown-model", "invalid-request"))
async def get_model(id: str, engine: EngineDep, request: Request, response: Response) -> ModelDetailBody:
    """One model: what it draws, how it was trained and measured, and which endpoints serve it."""
    entry = engine.catalog.entry(id)
    name, version = key_of(entry)
    response.headers.update({"X-Model": name, "X-Model-Version": str(version)})
    request.state.model = name
    return model_detail(engine.catalog, entry)


SHEET: Responses = {200: {"content": {"image/png": BINARY}}}
NO_SHEET = problems("invalid-request", "unknown-model", "model-unavailable", "not-found")


@router.head("/models/{id}/samples.png", include_in_schema=False)
@router.get("/models/{id}/samples.png", responses=SHEET | NO_SHEET, response_class=Response)
async def samples(id: str, engine: EngineDep, request: Request) -> Response:
    """The sample sheet made when the model was published."""
    served = engine.catalog.find(id)
    if not served.samples.is_file():
        raise RequestError("not-found", f"'{served.manifest.name}' was published without a sample sheet")
    name, version = served.key
    request.state.model = name
    return FileResponse(served.samples, media_type="image/png", headers={"X-Model": name, "X-Model-Version": str(version)})
