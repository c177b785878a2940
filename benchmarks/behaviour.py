"""`python -m benchmarks.behaviour`: how the service behaves, beside how fast it is.

Cold start; one caller beside a bulk client; a real-time stream beside others; ten times too much work; memory over many
requests. Each against a real server in a process of its own, callers over loopback. Prints a table and writes
`runs/behaviour.json`.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from benchmarks.client import ask, get, load, post
from benchmarks.figures import Figure, tell
from benchmarks.server import Server, serving

ZOO = Path("models/zoo")
MODEL = "fashion"
NPY = "application/x-npy"


def pictures(n: int) -> Callable[[int], bytes]:
    """Requests for `n` pictures each, as plain arrays."""
    return lambda i: post("/v1/generate", json.dumps({"model": MODEL, "n": n, "seed": i * n}), NPY)


def one(i: int) -> bytes:
    """The i-th picture by address."""
    return get(f"/v1/images/{MODEL}/{i}.png")


def cold_start() -> list[Figure]:
    """From the start of the process to the last byte of the first picture; the median of five."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        with (
            serving(ZOO) as server,
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/v1/images/{MODEL}/7.png") as answer,
        ):
            answer.read()
            times.append(time.perf_counter() - began)
    return [Figure("process start to first picture", statistics.median(times), "s", "≤ 4")]


async def beside_bulk(server: Server, seconds: float) -> list[Figure]:
    """One caller alone, then beside four who ask for 256 pictures at a time."""
    alone = await load(server.port, one, 1, seconds)
    bulk = asyncio.create_task(load(server.port, pictures(256), 4, seconds + 1))
    await asyncio.sleep(0.5)
    beside = await load(server.port, one, 1, seconds)
    busy = await bulk
    return [
        Figure("one caller alone, p99", alone.p99_ms, "ms", ""),
        Figure("one caller beside bulk, p99", beside.p99_ms, "ms", f"≤ {3 * alone.p99_ms:.1f}"),
        Figure("bulk meanwhile", busy.requests_per_s * 256, "pictures/s", ""),
    ]


async def stream(server: Server, seconds: float) -> list[Figure]:
    """A stream that waits for each picture, beside eight callers."""
    others = asyncio.create_task(load(server.port, one, 8, seconds + 1))
    await asyncio.sleep(0.5)
    received, until = 0, time.perf_counter() + seconds
    async with connect(f"ws://127.0.0.1:{server.port}/v1/stream") as socket:
        while time.perf_counter() < until:
            await socket.send(json.dumps({"model": MODEL, "between": [1, 2, received % 100 / 99]}))
            await socket.recv()
            received += 1
    served = await others
    return [
        Figure("stream beside eight callers", received / seconds, "pictures/s", "≥ 30"),
        Figure("the eight meanwhile", served.requests_per_s, "pictures/s", ""),
    ]


async def overload(server: Server, seconds: float) -> list[Figure]:
    """Requests for 256 pictures come ten times as fast as they can be answered."""
    capacity = await load(server.port, pictures(256), 8, 8.0)
    statuses: list[int] = []
    answering: set[asyncio.Task[None]] = set()

    async def caller(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        status, _ = await ask(reader, writer, pictures(256)(number))
        writer.close()
        statuses.append(status)

    until = time.perf_counter() + seconds
    for number in itertools.count():
        if time.perf_counter() > until:
            break
        answering.add(asyncio.create_task(caller(number)))
        await asyncio.sleep(0.1 / capacity.requests_per_s)
    done, refused = statuses.count(200), statuses.count(503)
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    status, _ = await ask(reader, writer, one(1))
    then_ms = (time.perf_counter() - began) * 1000
    writer.close()
    await asyncio.gather(*answering)
    wanted = f"≥ {0.9 * 256 * capacity.requests_per_s:.0f}"
    return [
        Figure("capacity, 256 pictures a request", capacity.requests_per_s * 256, "pictures/s", ""),
        Figure(f"ten times as much for {seconds:.0f} s", done * 256 / seconds, "pictures/s", wanted),
        Figure("refused with 503 meanwhile", refused, "requests", ""),
        Figure("failed otherwise", len(statuses) - statuses.count(200) - statuses.count(503), "requests", "0"),
        Figure(f"one picture right after (status {status})", then_ms, "ms", ""),
    ]


async def memory(server: Server, requests: int) -> list[Figure]:
    """The slope of resident memory over mixed requests, after the first quarter."""
    kinds = [one, pictures(1), pictures(16), lambda i: get(f"/v1/images/digits-mlp/{i}.webp"), lambda _: get("/v1/models")]
    numbers, seen = iter(range(requests)), []

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for i in numbers:
            await ask(reader, writer, kinds[i % len(kinds)](i))
            if i % 100 == 0:
                seen.append((i, server.memory_mb()))
        writer.close()

    await asyncio.gather(*(caller() for _ in range(8)))
    kept = np.array(seen[len(seen) // 4 :])
    slope = float(np.polyfit(kept[:, 0], kept[:, 1], 1)[0]) * 10_000
    return [
        Figure(f"memory over {requests} mixed requests", slope, "MB per 10,000", "≤ 1"),
        Figure("resident memory then", server.memory_mb(), "MB", ""),
    ]


def main() -> None:
    """Measures, prints and saves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.behaviour", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--requests", type=int, default=20_000, help="for the memory")
    options = parser.parse_args()
    figures = cold_start()
    with serving(ZOO) as server:
        server.wait_for_all(ZOO)
        parts: list[Coroutine[Any, Any, list[Figure]]] = [
            beside_bulk(server, options.seconds), stream(server, options.seconds),
            memory(server, options.requests), overload(server, 3 * options.seconds),
        ]  # fmt: skip
        for part in parts:
            figures += asyncio.run(part)
    tell(figures, "behaviour")


if __name__ == "__main__":
    main()
