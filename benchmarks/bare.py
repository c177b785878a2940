"""`python -m benchmarks.bare`: how near the service comes to applications that answer every request with the same picture.

What is left of a request when nothing is drawn: a bare ASGI function, Starlette and FastAPI under the same server, and the
service with its smallest model in one process and in two. 64 callers, one picture each.
"""

import argparse
import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from benchmarks.client import get, load
from benchmarks.server import serving

CALLERS = 64
PNG = (Path(__file__).parents[1] / "models/zoo/digits-mlp/1/samples.png").read_bytes()[:600]  # as long as a digit: nobody looks
HEADERS = {"content-type": "image/png"}


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application of two messages."""
    headers = [(b"content-type", b"image/png"), (b"content-length", str(len(PNG)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PNG})


def starlette() -> Starlette:
    """The same behind Starlette's router."""

    async def picture(request: Request) -> Response:
        return Response(PNG, headers=HEADERS)

    return Starlette(routes=[Route("/{seed}.png", picture)])


def fastapi() -> FastAPI:
    """The same behind FastAPI's, with a typed parameter."""
    app = FastAPI()

    @app.get("/{seed}.png")
    async def picture(seed: int) -> Response:
        return Response(PNG, headers=HEADERS)

    return app


@contextlib.contextmanager
def running(application: str) -> Iterator[int]:
    """The port of uvicorn with one of the applications above."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    factory = [] if application == "bare" else ["--factory"]
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        f"benchmarks.bare:{application}",
        "--port",
        str(port),
        "--no-access-log",
        *factory,
    ]
    process = subprocess.Popen([*command, "--log-level", "error", "--lifespan", "off"])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    seconds = parser.parse_args().seconds
    print("| answers to 64 callers | a second | p99 ms |\n|---|---|---|")

    def show(what: str, port: int, path: str) -> None:
        found = asyncio.run(load(port, lambda i: get(path.format(i)), CALLERS, seconds))
        print(f"| {what} | {found.requests_per_s:.0f} | {found.p99_ms:.1f} |", flush=True)

    for application in ("bare", "starlette", "fastapi"):
        with running(application) as port:
            show(f"{application}, a constant picture", port, "/{}.png")
    for processes in ("1", "2"):
        with serving(Path("models/zoo"), GANYMEDE_PROCESSES=processes, GANYMEDE_DEFAULT_MODEL="digits-mlp") as server:
            server.wait_for_all(Path("models/zoo"))
            show(f"the service, `digits-mlp`, {processes} process(es)", server.port, "/v1/images/digits-mlp/{}.png")


if __name__ == "__main__":
    main()
