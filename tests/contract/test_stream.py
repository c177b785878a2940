"""`WS /v1/stream` with a real client: pictures for messages, the newest first, and nothing piles up."""

import io
import json
from collections.abc import Iterator
from socket import SHUT_RDWR
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from server_process import ServerProcess
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

BOTH = {"seed": 1, "z": [0.0] * 8}


def address(server: ServerProcess, query: str = "") -> str:
    return server.url.replace("http", "ws") + "/v1/stream" + query


@pytest.fixture
def socket(server: ServerProcess) -> Iterator[ClientConnection]:
    with connect(address(server)) as connection:
        yield connection


def ask(socket: ClientConnection, **message: Any) -> bytes | str:
    socket.send(json.dumps(message))
    return socket.recv(60)


def pixels(data: bytes | str) -> Any:
    assert isinstance(data, bytes), data
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_message_brings_the_picture_that_the_address_brings(socket: ClientConnection, client: httpx2.Client) -> None:
    answer = ask(socket, model="fashion", seed=7, label="trouser")
    assert answer == client.get("/v1/images/fashion/7.png?label=trouser").content
    assert ask(socket, model="blobs", seed=7) == client.get("/v1/images/blobs/7.png").content


def test_a_stream_walks_between_seeds_as_an_interpolation_does(socket: ClientConnection, client: httpx2.Client) -> None:
    walk = {"model": "blobs", "keyframes": [{"seed": 1}, {"seed": 2}], "steps": 4}
    frames = np.load(io.BytesIO(client.post("/v1/interpolate", json=walk, headers={"Accept": "application/x-npy"}).content))
    for i, frame in enumerate(frames):
        assert (pixels(ask(socket, model="blobs", between=[1, 2, i / 4])).reshape(frame.shape) == frame).all()


def test_latents_and_other_formats(server: ServerProcess) -> None:
    with connect(address(server, "?format=npy")) as socket:
        data = ask(socket, model="blobs", z=[0.5] * 8)
        assert isinstance(data, bytes) and np.load(io.BytesIO(data)).shape[0] == 1
    with connect(address(server, "?format=jpg")) as socket:
        assert pixels(ask(socket, seed=1)).ndim >= 2


@pytest.mark.parametrize(
    ("message", "slug"),
    [("{", "invalid-request"), ("[]", "invalid-request"), ("{}", "invalid-request"), (json.dumps(BOTH), "invalid-request"),
     ('{"seed": -1}', "invalid-request"), ('{"between": [1, 2, 1.5]}', "invalid-request"), ('{"x": 1}', "invalid-request"),
     ('{"seed": 1, "model": "nope"}', "unknown-model"), ('{"seed": 1, "label": "nope"}', "unknown-label")],
)  # fmt: skip
def test_a_bad_message_is_a_problem_and_the_stream_goes_on(socket: ClientConnection, message: str, slug: str) -> None:
    socket.send(message)
    problem = json.loads(socket.recv(60))
    assert problem["type"] == slug and problem["detail"]
    assert isinstance(ask(socket, seed=1), bytes)


def test_bytes_close_the_stream(socket: ClientConnection) -> None:
    socket.send(b"\x00")
    with pytest.raises(ConnectionClosed):
        socket.recv(60)


def test_a_format_that_can_not_be_had_is_refused_before_it_begins(server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        connect(address(server, "?format=gif")).__enter__()
    assert refusal.value.response.status_code == 406
    assert json.loads(refusal.value.response.body or b"")["type"] == "not-acceptable"


def messages(client: httpx2.Client, outcome: str) -> float:
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f'ganymede_stream_messages_total{{outcome="{outcome}"}}'):
            return float(line.split()[-1])
    return 0.0


def test_a_flood_is_answered_with_the_newest_and_not_with_the_backlog(server: ServerProcess, client: httpx2.Client) -> None:
    """A thousand messages at once, read by nobody: few are drawn, the last one among them."""
    dropped, answered = messages(client, "dropped"), messages(client, "answered")
    with connect(address(server), max_queue=None) as socket:
        for seed in range(1000):
            socket.send(json.dumps({"model": "blobs", "seed": seed}))
        last = client.get("/v1/images/blobs/999.png").content
        received = 1
        while socket.recv(60) != last:
            received += 1
    assert received == messages(client, "answered") - answered
    assert received + messages(client, "dropped") - dropped == 1000
    assert received < 900


def test_streams_leave_when_their_client_does(server: ServerProcess, client: httpx2.Client) -> None:
    def open_streams() -> float:
        lines = client.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("ganymede_streams "))

    with connect(address(server)) as polite, connect(address(server)) as rude:
        ask(polite, seed=1)
        ask(rude, seed=1)
        assert open_streams() == 2
        rude.socket.shutdown(SHUT_RDWR)  # without a word
        server.wait_for(lambda: open_streams() == 1)
    server.wait_for(lambda: open_streams() == 0)
