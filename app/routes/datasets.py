"""Synthetic labelled data sets: jobs, their progress and their files."""

import asyncio
import time
import zipfile
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Request, UploadFile
from starlette.responses import Response, StreamingResponse

from app.codecs.zipped import EPOCH, Outlet
from app.datasets.records import ENDED, SUCCEEDED, GoneError, Job
from app.datasets.service import Datasets
from app.deps import FORM_TYPE, EngineDep
from app.errors import RequestError
from app.etags import matches
from app.ranges import UnsatisfiableError, part_of
from app.routes.replies import BINARY, Responses, problems
from app.schemas.datasets import DatasetBody, DatasetList, DatasetRequest, body_of_job

router = APIRouter(prefix="/v1/datasets", tags=["data sets"])

LOOK_EVERY_S = 0.5
KEEP_ALIVE_S = 15.0


async def get_datasets(request: Request) -> Datasets:
    """What the lifespan opened."""
    datasets: Datasets = request.app.state.datasets
    return datasets


DatasetsDep = Annotated[Datasets, Depends(get_datasets)]
FILE: Responses = {200: {"content": {"application/octet-stream": BINARY}}, 206: {"description": "the part asked for"}}
EVENTS: Responses = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
USUAL = problems("invalid-request", "unknown-dataset")


@router.post(
    "",
    status_code=202,
    responses=problems(
        "invalid-request",
        "unknown-model",
        "unknown-label",
        "wrong-task",
        "model-unavailable",
        "storage-full",
        "too-many-datasets",
    ),
)
async def create(body: DatasetRequest, datasets: DatasetsDep, response: Response) -> DatasetBody:
    """Order a data set. It is made in the background; its address is in `Location`."""
    job = await datasets.create(body.order())
    response.headers["Location"] = f"/v1/datasets/{job.id}"
    response.headers.update({"X-Model": job.spec.model, "X-Model-Version": str(job.spec.version), "X-Seed": str(job.spec.seed)})
    return body_of_job(job)


@router.get("")
async def every(datasets: DatasetsDep) -> DatasetList:
    """All data sets, newest first."""
    return DatasetList(data=[body_of_job(job) for job in await datasets.all()])


@router.get("/{id}", responses=USUAL)
async def one(id: str, datasets: DatasetsDep) -> DatasetBody:
    """How far a data set is, and its files."""
    return body_of_job(await found(datasets, id))


@router.post(
    "/{id}/report",
    status_code=202,
    responses=USUAL | problems("not-finished", "unsupported-media-type", "unknown-model", "model-unavailable"),
)
async def report(
    id: str,
    request: Request,
    datasets: DatasetsDep,
    response: Response,
    real: Annotated[UploadFile | None, File(description="a zip of real pictures in folders called like the classes")] = None,
) -> DatasetBody:
    """Measure what a finished data set is worth: classifiers learn from it, and are asked about real pictures.

    Without a file, about those that came with the model. With one, whose folders may stand in folders `train` and `test`, about
    those. It takes minutes; the data set is `running` meanwhile, and then has a new `report.json` and `REPORT.md`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", FORM_TYPE):
        raise RequestError("unsupported-media-type", f"send a form, such as curl -F real=@pictures.zip, not '{kind[:100]}'")
    try:
        job = await datasets.measure(id, None if real is None else await real.read())
    except GoneError:
        raise unknown(id) from None
    response.headers["Location"] = f"/v1/datasets/{job.id}"
    return body_of_job(job)


@router.delete("/{id}", status_code=204, responses=USUAL)
async def remove(id: str, datasets: DatasetsDep) -> Response:
    """Cancel a data set that is being made, and remove all its files."""
    try:
        await datasets.delete(id)
    except GoneError:
        raise unknown(id) from None
    return Response(status_code=204)


@router.get("/{id}/events", responses=EVENTS | USUAL, response_class=Response)
async def events(id: str, datasets: DatasetsDep) -> StreamingResponse:
    """The same object as a stream of Server-Sent Events, one whenever it changes, until it ends."""
    first = await found(datasets, id)
    return StreamingResponse(told(datasets, first), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def told(datasets: Datasets, job: Job) -> AsyncIterator[bytes]:
    """The job as it changes."""
    last, last_at = None, time.monotonic()
    body = body_of_job(job)
    while True:
        if body != last:
            last, last_at = body, time.monotonic()
            yield f"data: {body.model_dump_json()}\n\n".encode()
        elif time.monotonic() - last_at > KEEP_ALIVE_S:
            last_at = time.monotonic()
            yield b": still here\n\n"
        if body.status in (*ENDED, "cancelled"):
            return
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            body = body_of_job(await datasets.get(job.id))
        except GoneError:
            body = body.model_copy(update={"status": "cancelled", "eta_seconds": None, "files": []})


@router.head("/{id}/files/{name}", include_in_schema=False)
@router.get("/{id}/files/{name}", responses=FILE | USUAL | problems("not-found"), response_class=Response)
async def file(id: str, name: str, request: Request, datasets: DatasetsDep, engine: EngineDep) -> Response:
    """One finished file. It never changes; `Range` asks for a part of it."""
    job = await found(datasets, id)
    wanted = next((f for f in job.files if f.name == name), None)
    if wanted is None:
        there = ", ".join(f.name for f in job.files) or "none yet"
        raise RequestError("not-found", f"the data set has no file '{name[:100]}'; those that are finished: {there[:1000]}")
    tag = f'"{wanted.sha256}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{wanted.name}"'}
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    if request.headers.get("if-range") not in (None, tag):
        asked = None
    try:
        part = part_of(asked, wanted.bytes)
    except UnsatisfiableError:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{wanted.bytes}"})
    start, stop = (0, wanted.bytes) if part is None else (part.start, part.stop)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = part.header
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=wanted.media_type)
    pieces = datasets.read(engine, id, name, start, stop)
    return StreamingResponse(pieces, status, headers, media_type=wanted.media_type)


@router.get("/{id}/download", responses=FILE | USUAL | problems("not-finished"), response_class=Response)
async def download(id: str, datasets: DatasetsDep, engine: EngineDep) -> StreamingResponse:
    """All files as one zip, sent as it is read."""
    job = await found(datasets, id)
    if job.status != SUCCEEDED:
        raise RequestError(
            "not-finished", f"the data set is {job.status}; GET /v1/datasets/{id}/events tells when it is finished"
        )
    headers = {"Content-Disposition": f'attachment; filename="{job.id}.zip"'}
    return StreamingResponse(zipped(datasets, engine, job), headers=headers, media_type="application/zip")


async def zipped(datasets: Datasets, engine: Any, job: Job) -> AsyncIterator[bytes]:
    """A zip of a job's files, nothing compressed again: the same bytes every time."""
    out = Outlet()
    with zipfile.ZipFile(out, "w") as archive:
        for made in job.files:
            entry = zipfile.ZipInfo(made.name, EPOCH)
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as target:
                async for piece in datasets.read(engine, job.id, made.name, 0, made.bytes):
                    target.write(piece)
                    yield out.taken()
    yield out.taken()


async def found(datasets: Datasets, identifier: str) -> Job:
    """Raises `unknown-dataset`."""
    try:
        return await datasets.get(identifier)
    except GoneError:
        raise unknown(identifier) from None


def unknown(identifier: str) -> RequestError:
    """The problem of an id that there is none of."""
    return RequestError("unknown-dataset", f"there is no data set '{identifier[:60]}'; GET /v1/datasets lists those there are")
