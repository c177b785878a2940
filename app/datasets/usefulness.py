"""Measures a data set's usefulness, in a process that gives way to all others: training classifiers takes minutes."""

import asyncio
import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.datasets.picking import Picker, its_pixels
from app.datasets.report import USEFULNESS, Findings
from app.datasets.storage import Storage
from app.datasets.worth.real import Splits, of_model, unpack
from app.engine.catalog import Served
from app.engine.engine import Engine
from models.checkpoint import read_attachment
from models.worth import PLAIN

log = logging.getLogger(__name__)

REAL = "real.npz"  # in a job's storage: the real pictures that its caller sent
MOST_PICTURES = 20_000  # of the data set, evenly spread
MOST_BYTES = 2**27  # of their pixels
NO_REAL_PICTURES = (
    "the model was published without real pictures; send some to POST /v1/datasets/{id}/report, as a zip of class folders"
)

Stage = Callable[[str], Awaitable[None]]


async def measured(
    engine: Engine, storage: Storage, served: Served, picker: Picker, found: Findings, lesson_pictures: int, stage: Stage
) -> tuple[dict[str, Any], bytes | None]:
    """What `models.worth.measure` finds, and a picture of it; or why it can't be told. Raises what `stage` raises."""
    real, whose = await engine.offload(real_pictures, storage, found.job.id, served)
    if real is None:
        return {"error": NO_REAL_PICTURES}, None
    proof = served.manifest.proof
    curve = []
    if proof is not None and whose == "model" and lesson_pictures == PLAIN.images:  # as long as its curve took
        curve = [{"pictures": p.pictures, "accuracy": sum(p.plain) / len(p.plain)} for p in proof.real_curve]
    task = {
        "classes": len(found.job.spec.label_names),
        "mirror": proof is not None and proof.mirror,
        "curve": curve,
        "images": lesson_pictures,
    }
    with tempfile.TemporaryDirectory(prefix="ganymede-") as name:
        folder = Path(name)
        await stage("drawing pictures to learn from")
        await engine.offload((folder / "task.json").write_text, json.dumps(task))
        await engine.offload((folder / "real.npz").write_bytes, real.pack())
        await draw_again(engine, picker, found, folder / "made.npz")
        error = await run_apart(folder, stage)
        if error is not None:
            log.error("measuring data set %s failed: %s", found.job.id, error)
            return {"error": "the measurement failed; the server's log says why"}, None
        result = json.loads((folder / "result.json").read_bytes())
        return {"real_pictures_of": whose, **result}, (folder / USEFULNESS).read_bytes()


def real_pictures(storage: Storage, job: str, served: Served) -> tuple[Splits | None, str]:
    """Those that the caller sent, or that came with the model; and whose they are: "caller" or "model"."""
    with contextlib.suppress(FileNotFoundError), storage.read(job, REAL) as file:
        return unpack(file.read()), "caller"
    proof = served.manifest.proof
    if proof is None or proof.real is None:
        return None, "model"
    return of_model(read_attachment(served.folder, proof.real)), "model"


async def draw_again(engine: Engine, picker: Picker, found: Findings, path: Path) -> None:
    """Writes a data set's pictures (N, H, W, C) and labels as arrays, evenly spread if there are too many of them."""
    output, total = found.manifest.output, found.job.total
    most = min(MOST_PICTURES, MOST_BYTES // (output.height * output.width * output.channels))
    places = np.linspace(0, total - 1, min(total, most)).round().astype(int).tolist()
    images = np.empty((len(places), output.height, output.width, output.channels), np.uint8)
    for start in range(0, len(places), picker.chunk):
        some = places[start : start + picker.chunk]
        shown = await picker.draw(some, [found.tally.tries.get(i, 1) - 1 for i in some], its_pixels)
        images[start : start + len(some)] = [picture.pixels for picture in shown]
    labels = found.plan.labels[places].astype(np.int64)
    await engine.offload(lambda: np.savez(path, images=images, labels=labels))


async def run_apart(folder: Path, stage: Stage) -> str | None:
    """Runs `app.datasets.worth` on a folder, passing on how far it is; why it failed, or None. Ends it where `stage` raises."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.datasets.worth", str(folder),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None  # pipes
    errors = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            share, _, what = line.decode().strip().partition(" ")
            await stage(f"{what}, {float(share):.0%}")
        await process.wait()
        return None if process.returncode == 0 else (await errors).decode(errors="replace")[-2000:]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await errors
