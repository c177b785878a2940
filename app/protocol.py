"""uvicorn's HTTP, but for how an answer leaves: its head and its body in one piece.

uvicorn writes them one after the other, and each takes the system as long as half of Python's work on the request.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OnePiece:
    """A transport that keeps what is written for a moment, to send it together with what comes next."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._kept: bytes | None = None

    def write(self, data: bytes) -> None:
        """Sends data, at the latest when the event loop has gone through what it has at hand."""
        if self._kept is None:
            self._kept = data
            self._loop.call_soon(self.flush)
        else:
            kept, self._kept = self._kept, None
            self.transport.writelines([kept, data])

    def flush(self) -> None:
        """Sends what is kept."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self.transport.write(kept)

    def close(self) -> None:
        """Sends what is kept, and closes."""
        self.flush()
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


class Protocol(HttpToolsProtocol):
    """A connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OnePiece(transport, self.loop))  # type: ignore[arg-type]

    def handle_websocket_upgrade(self) -> None:
        assert isinstance(self.transport, OnePiece)
        self.transport.flush()
        self.transport = self.transport.transport  # a WebSocket's messages are one piece already
        super().handle_websocket_upgrade()
