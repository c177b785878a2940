"""Servers that start, fill up, lose clients, get new models, and stop."""

import io
import json
import shutil
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
from server_process import ServerProcess
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from zoo_factory import make_entry, make_zoo

Start = Callable[..., ServerProcess]

FRAMES = 1201
LONG = {"model": "slow", "keyframes": [{"seed": i} for i in range(11)], "steps": 120}
PATIENCE = {"GANYMEDE_TRANSFER_SECONDS": "1", "GANYMEDE_MAX_UPLOADS": "2"}
NPY = {"Accept": "application/x-npy"}


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory, start_server: Start) -> ServerProcess:
    """A server whose only model takes seconds for 1201 frames, time enough to look around, and whose queue holds just that."""
    zoo = tmp_path_factory.mktemp("slow")
    make_entry(zoo, "slow", "dcgan", resolution=64, width=24, max_width=192)
    room = str((FRAMES + 8) * 64 * 64)
    server = start_server(zoo, GANYMEDE_MAX_PIXELS=room, GANYMEDE_MAX_QUEUE_PIXELS=room, **PATIENCE)
    server.wait_until_ready()
    return server


@pytest.fixture(scope="module")
def changing_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo of `changing`."""
    return make_zoo(tmp_path_factory.mktemp("changing"))


@pytest.fixture(scope="module")
def changing(changing_zoo: Path, start_server: Start) -> ServerProcess:
    """A server on a zoo that tests change, and then put back as it was."""
    server = start_server(changing_zoo)
    server.wait_until_ready()
    return server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, start_server: Start) -> ServerProcess:
    """A server with keys and narrow limits. Its client sends a valid key."""
    zoo = make_zoo(tmp_path_factory.mktemp("strict"))
    make_entry(zoo, "huge", "mlp", hidden=(512, 1024))
    limits = {"GANYMEDE_MAX_PIXELS": "1024", "GANYMEDE_MAX_FRAMES": "10", "GANYMEDE_MEMORY_BUDGET_MB": "1",
              "GANYMEDE_MAX_STREAMS": "1"}  # fmt: skip
    server = start_server(zoo, GANYMEDE_API_KEYS="alpha, beta", GANYMEDE_METRICS_KEY="gamma", **limits)
    server.client.headers["Authorization"] = "Bearer beta"
    server.wait_until_ready()
    return server


def gauge(server: ServerProcess, name: str) -> float:
    lines = server.client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def queued(server: ServerProcess) -> float:
    return gauge(server, "ganymede_queue_pixels")


def pictures(server: ServerProcess) -> float:
    lines = server.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("ganymede_pictures_total"))


def in_background(function: Callable[[], httpx2.Response]) -> Future[httpx2.Response]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future


def order_long(server: ServerProcess) -> Future[httpx2.Response]:
    """Starts a request that takes seconds, and returns once it is being worked on."""
    future = in_background(lambda: server.client.post("/v1/interpolate", json=LONG, headers=NPY))
    server.wait_for(lambda: queued(server) > 0)
    return future


def test_a_small_request_does_not_wait_for_a_large_one(slow: ServerProcess) -> None:
    server = slow
    answer = order_long(server)
    assert server.client.post("/v1/sample", json={}).status_code == 200
    assert not answer.done()
    assert answer.result(60).status_code == 200


def test_a_full_queue_refuses_with_retry_after(slow: ServerProcess) -> None:
    server = slow
    answer = order_long(server)
    refused = server.client.post("/v1/sample", json={"n": 9})
    assert refused.status_code == 503
    assert refused.json()["type"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert answer.result(60).status_code == 200
    assert server.client.post("/v1/sample", json={}).status_code == 200


def test_a_client_that_goes_away_frees_its_place(slow: ServerProcess) -> None:
    server = slow
    before = pictures(server)
    body = json.dumps(LONG).encode()
    url = httpx2.URL(server.url)
    head = f"POST /v1/interpolate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(head.encode() + body)
        server.wait_for(lambda: queued(server) > 0)
    server.wait_for(lambda: queued(server) == 0)
    assert pictures(server) - before < FRAMES
    assert server.client.post("/v1/sample", json={}).status_code == 200
    assert '"level": "error"' not in server.log()


HALF_A_BODY = b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


def connection(server: ServerProcess) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def test_a_body_that_does_not_arrive_is_given_up(slow: ServerProcess) -> None:
    with connection(slow) as first, connection(slow) as second, connection(slow) as third:
        first.sendall(HALF_A_BODY)
        second.sendall(HALF_A_BODY)
        slow.wait_for(lambda: gauge(slow, "ganymede_requests_in_progress") >= 3)  # these two, and the one that asks
        third.sendall(HALF_A_BODY)  # one more than may be under way
        refused = third.makefile("rb").read()
        assert b" 503 " in refused and b"overloaded" in refused and b"retry-after" in refused.lower()
        answer = first.makefile("rb").read()  # to the end: the connection is closed
        assert b" 504 " in answer and b"deadline-exceeded" in answer
    assert slow.client.post("/v1/sample", json={"n": 1}).status_code == 200


def test_a_client_that_does_not_read_is_cut_off(slow: ServerProcess) -> None:
    body = json.dumps(LONG).encode()
    head = "POST /v1/interpolate?format=npy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with connection(slow) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        slow.wait_for(lambda: queued(slow) > 0)
        slow.wait_for(lambda: queued(slow) == 0)
        slow.wait_for(lambda: gauge(slow, "ganymede_requests_in_progress") == 1)  # only the one that asks
    assert slow.client.post("/v1/sample", json={"n": 1}).status_code == 200


def test_a_request_larger_than_the_limit_is_refused(strict: ServerProcess) -> None:
    server = strict
    assert server.client.post("/v1/sample", json={"model": "blobs", "n": 4}).status_code == 200
    refused = server.client.post("/v1/sample", json={"model": "blobs", "n": 5})
    assert (refused.status_code, refused.json()["type"]) == (422, "invalid-request")
    film = {"keyframes": [{"seed": 1}, {"seed": 2}], "steps": 10}
    assert server.client.post("/v1/interpolate", json=film).json()["type"] == "invalid-request"


def test_an_empty_zoo_is_explained_and_filled_while_running(tmp_path: Path, start_server: Start) -> None:
    zoo = tmp_path / "zoo"
    server = start_server(zoo)
    server.wait_for(lambda: "GANYMEDE_MODELS_DIR" in server.client.get("/readyz").text)
    assert server.client.get("/readyz").status_code == 503
    assert server.client.get("/healthz").status_code == 200
    assert server.client.post("/v1/sample", json={}).json()["type"] == "unknown-model"
    make_entry(zoo, "blobs", "dcgan")
    server.wait_until_ready()
    assert server.client.post("/v1/sample", json={}).headers["x-model"] == "blobs"


def test_new_versions_are_picked_up_and_removed_ones_go(changing: ServerProcess, changing_zoo: Path) -> None:
    server, zoo = changing, changing_zoo

    def drawn(model: str) -> httpx2.Response:
        return server.client.get(f"/v1/images/{model}/7.png")

    old = drawn("fashion")
    make_entry(zoo, "fashion", "conditional", version=2, weights_seed=1)
    server.wait_for(lambda: drawn("fashion").headers["x-model-version"] == "2")
    new = drawn("fashion")
    assert new.content != old.content and new.headers["etag"] != old.headers["etag"]
    assert drawn("fashion@1").content == old.content
    ids = [m["id"] for m in server.client.get("/v1/models").json()["data"]]
    assert ids == ["blobs", "digits-mlp", "fashion", "fashion@1"]
    shutil.rmtree(zoo / "fashion" / "2")
    server.wait_for(lambda: drawn("fashion").headers["x-model-version"] == "1")
    assert drawn("fashion").content == old.content
    assert drawn("fashion@2").status_code == 404


def test_versions_change_under_load_without_a_failed_request(changing: ServerProcess, changing_zoo: Path) -> None:
    """Version 2 comes while eight callers keep asking for `fashion`, version 1 goes, and comes back as 3."""
    server, zoo = changing, changing_zoo
    stop = threading.Event()
    seen: list[tuple[int, str]] = []

    def keep_asking() -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            while not stop.is_set():
                response = client.post("/v1/generate", json={"model": "fashion", "n": 3, "seed": len(seen)}, headers=NPY)
                seen.append((response.status_code, response.headers.get("x-model-version", "")))

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(keep_asking) for _ in range(8)]
        try:
            for version, gone in ((2, 1), (3, 2)):
                make_entry(zoo, "fashion", "conditional", version=version, weights_seed=version)
                server.wait_for(lambda version=version: seen[-1:] == [(200, str(version))])  # type: ignore[misc]
                shutil.rmtree(zoo / "fashion" / str(gone))
        finally:
            stop.set()
        for caller in callers:
            caller.result(60)
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1", "2", "3"}
    make_entry(zoo, "fashion", "conditional")
    shutil.rmtree(zoo / "fashion" / "3")
    server.wait_for(lambda: server.client.get("/v1/models/fashion").json().get("version") == 1)


def spoil(zoo: Path, how: str) -> str:
    """Publishes version 2 of `fashion` in some broken way; returns what the reason must mention."""
    entry = make_entry(zoo, "fashion", "conditional", version=2)
    weights, manifest = entry / "weights.safetensors", entry / "manifest.json"
    written = json.loads(manifest.read_text())
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-10])
        return "cut off"
    if how == "flipped":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        return "SHA-256"
    if how == "no weights":
        weights.unlink()
        return "weights.safetensors"
    if how == "no manifest":
        manifest.unlink()
        return "manifest.json is missing"
    if how == "no JSON":
        manifest.write_text("{")
        return "manifest.json"
    changes = {
        "other format": ({"format_version": 99}, "format_version"),
        "unknown family": ({"family": "stylegan9"}, "stylegan9"),
        "unknown key": ({"colour": "blue"}, "colour"),
        "wrong labels": ({"labels": ["a"]}, "labels"),
        "other name": ({"name": "other"}, "other"),
    }
    change, mention = changes[how]
    manifest.write_text(json.dumps(written | change))
    return mention


BROKEN = ["truncated", "flipped", "no weights", "no manifest", "no JSON", "other format", "unknown family", "unknown key",
          "wrong labels", "other name"]  # fmt: skip


def test_broken_versions_are_refused_with_the_reason_while_the_rest_serves(
    changing: ServerProcess, changing_zoo: Path, tmp_path: Path
) -> None:
    server, zoo = changing, changing_zoo
    for how in BROKEN:
        mention = spoil(tmp_path / "elsewhere", how)
        shutil.move(tmp_path / "elsewhere" / "fashion" / "2", zoo / "fashion" / "2")
        server.wait_for(lambda: server.client.get("/v1/models/fashion@2").status_code == 200)
        model = server.client.get("/v1/models/fashion@2").json()
        assert (model["id"], model["status"]) == ("fashion@2", "unavailable"), how
        assert mention in model["error"], how
        answer = server.client.post("/v1/generate", json={"model": "fashion@2"})
        assert (answer.status_code, answer.json()["type"]) == (503, "model-unavailable"), how
        assert mention in answer.json()["detail"] and "retry-after" in answer.headers
        assert server.client.post("/v1/generate", json={}).headers["x-model-version"] == "1", how
        assert server.client.get("/readyz").status_code == 200
        shutil.rmtree(zoo / "fashion" / "2")
        server.wait_for(lambda: server.client.get("/v1/models/fashion@2").status_code == 404)


def test_a_repaired_version_is_served(changing: ServerProcess, changing_zoo: Path, tmp_path: Path) -> None:
    server = changing
    made = make_entry(tmp_path, "later", "mlp")
    manifest = (made / "manifest.json").read_bytes()
    (made / "manifest.json").write_bytes(b"{")
    shutil.move(tmp_path / "later", changing_zoo / "later")
    entry = changing_zoo / "later" / "1"
    status = lambda: server.client.get("/v1/models/later").json().get("status")  # noqa: E731
    server.wait_for(lambda: status() == "unavailable")
    (entry / "manifest.json").write_bytes(manifest)
    server.wait_for(lambda: status() == "ready")
    shutil.rmtree(changing_zoo / "later")
    server.wait_for(lambda: status() == 404)  # a problem has a status too


def test_models_beyond_the_memory_budget_are_refused(strict: ServerProcess) -> None:
    server = strict
    server.wait_for(lambda: server.client.get("/v1/models/huge").json().get("status") == "unavailable")
    assert "GANYMEDE_MEMORY_BUDGET_MB" in server.client.get("/v1/models/huge").json()["error"]


def test_keys_guard_everything_but_health(strict: ServerProcess) -> None:
    server = strict
    anonymous = httpx2.Client(base_url=server.url)

    def status(path: str, key: str | None = None, scheme: str = "Bearer") -> int:
        headers = {} if key is None else {"Authorization": f"{scheme} {key}"}
        return anonymous.get(path, headers=headers).status_code

    for path in ("/v1/models", "/docs", "/openapi.json", "/", "/nope", "/v1/images/blobs/1.png"):
        assert status(path) == 401
        assert status(path, "wrong") == status(path, "alph") == status(path, "gamma") == 401
    assert status("/v1/models", "alpha") == status("/v1/models", "beta") == 200
    assert status("/v1/models", "alpha", "bearer") == 200
    assert status("/v1/models", "alpha", "Basic") == 401
    assert status("/metrics", "alpha") == 401 and status("/metrics", "gamma") == 200
    assert status("/healthz") == status("/readyz") == 200
    refused = anonymous.get("/v1/models", headers={"X-Request-ID": "mine"})
    assert refused.json()["type"] == "unauthorized" and refused.headers["x-request-id"] == "mine"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert "alpha" not in server.log()
    anonymous.close()


def test_streams_need_a_key_and_are_counted(strict: ServerProcess) -> None:
    address = strict.url.replace("http", "ws") + "/v1/stream"
    key = {"Authorization": "Bearer alpha"}
    with pytest.raises(InvalidStatus) as refusal:
        connect(address).__enter__()
    assert refusal.value.response.status_code == 401
    with connect(address, additional_headers=key) as stream:
        stream.send('{"seed": 1}')
        assert isinstance(stream.recv(60), bytes)
        with pytest.raises(InvalidStatus) as refusal:
            connect(address, additional_headers=key).__enter__()
        assert refusal.value.response.status_code == 503 and refusal.value.response.headers["retry-after"]


def test_many_clients_at_once(slow: ServerProcess) -> None:
    server = slow
    barrier = threading.Barrier(16)

    def order(seed: int) -> bytes:
        barrier.wait()
        return server.client.post("/v1/sample", json={"seed": seed % 4}, headers=NPY).content

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(order, range(16)))
    assert all(answers[i] == answers[i % 4] for i in range(16))
    assert len(set(answers)) == 4


def test_sigterm_lets_accepted_work_finish(slow: ServerProcess) -> None:
    """The last test that uses the server: it ends it."""
    server = slow
    answer = order_long(server)
    server.terminate()
    response = answer.result(60)
    assert response.status_code == 200
    assert np.load(io.BytesIO(response.content)).shape == (FRAMES, 64, 64, 3)
    assert server.exit_code() == 0
