"""How answers leave: in one piece, and none of it waits for what never comes."""

import asyncio
import gc
import socket
from typing import Any

import httpx2
import pytest
from server_process import ServerProcess
from starlette.types import Message, Receive, Scope, Send

from app import middleware
from app.middleware import Body
from app.protocol import OnePiece


class Wire:
    """A transport that notes every call that would be one of the system's."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def writelines(self, data: list[bytes]) -> None:
        self.sent.append(b"".join(data))

    def close(self) -> None:
        self.closed = True


def test_head_and_body_leave_together() -> None:
    async def check() -> None:
        wire: Any = Wire()
        transport = OnePiece(wire, asyncio.get_running_loop())
        transport.write(b"head ")
        transport.write(b"body")
        assert wire.sent == [b"head body"]
        transport.write(b"alone")
        assert wire.sent == [b"head body"]
        await asyncio.sleep(0)
        assert wire.sent == [b"head body", b"alone"]
        transport.write(b"last")
        transport.close()
        assert wire.sent[2:] == [b"last"] and wire.closed

    asyncio.run(check())


def test_who_asks_whether_to_send_a_body_is_told_at_once(client: httpx2.Client, server: ServerProcess) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    body = b'{"model": "blobs"}'
    head = f"POST /v1/sample HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_request_leaves_nothing_to_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that took so long that its client was watched: collecting stops everything for milliseconds."""
    monkeypatch.setattr(middleware, "PATIENCE_S", 0.001)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.02)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def check() -> None:
        forever = asyncio.Event()
        asked = 0

        async def receive() -> Message:
            nonlocal asked
            asked += 1
            if asked > 1:
                await forever.wait()
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            pass

        scope = {"type": "http", "headers": [], "path": "/"}
        await asyncio.create_task(Body(app, 1000, 1, 1.0)(scope, receive, send))
        await asyncio.sleep(0.01)
        assert asked == 2  # for the body, and for the end of the connection

    gc.collect()
    gc.disable()
    try:
        asyncio.run(check())
        assert [o for o in gc.get_objects() if type(o).__name__ == "_Client"] == []
    finally:
        gc.enable()
