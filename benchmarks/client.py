"""Closed-loop callers over loopback: each asks again as soon as it is answered.

On bare sockets, because every HTTP client library costs more CPU a request than the service it would measure. It reads
just what the service writes: a status line, headers with Content-Length, a body.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What the callers saw. Latencies in milliseconds."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    refused: int  # 429 and 503
    failed: int  # everything else that is not 200


def get(path: str, accept: str = "*/*") -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode()


def post(path: str, body: str, accept: str) -> bytes:
    """A POST request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, int]:
    """Sends one request and reads its answer: the status, and the length of the body."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    start = head.index(b"content-length: ") + 16
    length = int(head[start : head.index(b"\r", start)])
    await reader.readexactly(length)
    return int(head[9:12]), length


async def load(port: int, request: Callable[[int], bytes], callers: int, seconds: float) -> Load:
    """Runs `callers` callers for `seconds`; `request(i)` is the i-th request of all."""
    latencies: list[float] = []
    statuses: list[int] = []
    numbers = iter(range(10**12))
    until = time.perf_counter() + seconds

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            status, _ = await ask(reader, writer, request(next(numbers)))
            latencies.append((time.perf_counter() - began) * 1000)
            statuses.append(status)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed = time.perf_counter() - began
    done = sum(status == 200 for status in statuses)
    refused = sum(status in {429, 503} for status in statuses)
    p50, p99 = np.percentile(latencies, [50, 99])
    return Load(done / elapsed, float(p50), float(p99), refused, len(statuses) - done - refused)
