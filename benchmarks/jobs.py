"""`python -m benchmarks.jobs`: data sets in bulk, against the in-process ceiling, and what one caller feels of them meanwhile.

Jobs of 20,000 pictures on a real server; the ceiling is forward and encode in this process on as many lanes, measured in turn
with the jobs, round by round; medians. A job of 100,000 shows what is left of a report's fixed costs, and of memory. Prints a
table, and writes `runs/jobs.json`.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx2

from benchmarks.ceiling import Ceiling
from benchmarks.client import get, load
from benchmarks.figures import Figure, tell
from benchmarks.server import Server, serving
from training.__main__ import find_entry

PICTURES = 20_000
LARGE = 100_000
BATCH = 8
ALONE_S = 5.0


def job(client: httpx2.Client, model: str, pictures: int, form: str, seed: int) -> tuple[str, int]:
    """Orders `pictures` in all: the id, and how many there will be."""
    classes = max(1, len(client.get(f"/v1/models/{model}").json()["labels"]))
    body = {"model": model, "per_class": pictures // classes, "format": form, "seed": seed}
    response = client.post("/v1/datasets", json=body)
    response.raise_for_status()
    return response.json()["id"], response.json()["total"]


def wait(client: httpx2.Client, identifier: str) -> None:
    """Until it is finished."""
    with client.stream("GET", f"/v1/datasets/{identifier}/events", timeout=None) as events:
        last = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")][-1]
    if last["status"] != "succeeded":
        raise SystemExit(f"the job ended as {last['status']}: {last['error']}")


def rate(client: httpx2.Client, model: str, form: str, seed: int, pictures: int = PICTURES) -> float:
    """Pictures a second, from the order to the last file on the disk."""
    began = time.perf_counter()
    identifier, total = job(client, model, pictures, form, seed)
    wait(client, identifier)
    seconds = time.perf_counter() - began
    client.delete(f"/v1/datasets/{identifier}")
    return total / seconds


def one_caller(server: Server, model: str) -> float:
    """Of one who asks for one picture after the other: the 99th percentile, ms."""
    asked = load(server.port, lambda i: get(f"/v1/images/{model}/{i}.png"), 1, ALONE_S)
    return asyncio.run(asked).p99_ms


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    parser.add_argument("--model", default="fashion")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ceiling = Ceiling(find_entry(options.model, options.zoo))
    lanes = ceiling.device.lanes
    figures = []
    with tempfile.TemporaryDirectory() as storage, serving(options.zoo, GANYMEDE_STORAGE_DIR=storage) as server:
        server.wait_for_all(options.zoo)
        client = httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60)
        for form, encoded in (("parquet", "png"), ("npz", "npy")):
            shares, rates = [], []
            for i in range(options.rounds):
                rates.append(rate(client, options.model, form, seed=i))
                most = ceiling.pictures_per_s(batch=BATCH, lanes=lanes, format_name=encoded, seconds=ALONE_S)
                shares.append(rates[-1] / most)
            figures.append(Figure(f"{form}, pictures a second", statistics.median(rates), "1/s", ""))
            figures.append(Figure(f"{form}, share of the ceiling", statistics.median(shares), "", "≥ 0.9"))
        alone = one_caller(server, options.model)
        identifier, _ = job(client, options.model, PICTURES * 5, "npz", seed=1)
        beside = one_caller(server, options.model)
        client.delete(f"/v1/datasets/{identifier}")
        figures.append(Figure("one caller alone, p99", alone, "ms", ""))
        figures.append(Figure("one caller beside a job, p99", beside, "ms", f"≤ {2 * alone:.0f}"))
        before = server.memory_mb("VmHWM")
        large = rate(client, options.model, "webdataset", seed=2, pictures=LARGE)
        grown = server.memory_mb("VmHWM") - before
        most = ceiling.pictures_per_s(batch=BATCH, lanes=lanes, format_name="png", seconds=ALONE_S)
        figures.append(Figure(f"webdataset of {LARGE:,}, pictures a second", large, "1/s", ""))
        figures.append(Figure(f"webdataset of {LARGE:,}, share of the ceiling", large / most, "", "≥ 0.9"))
        figures.append(Figure(f"peak memory over {LARGE:,} pictures, growth", grown, "MB", "flat"))
    tell(figures, "jobs")


if __name__ == "__main__":
    main()
