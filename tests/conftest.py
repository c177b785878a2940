"""Zoos and servers for the tests of the service. Servers are real processes, spoken to over real sockets."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import torch
from server_process import ServerProcess
from zoo_factory import make_entry, make_translators, make_zoo


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Tests must not depend on the settings of whoever runs them."""
    own = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith("GANYMEDE_") and k != "GANYMEDE_DATA"}
    yield
    os.environ.update(own)


@pytest.fixture(autouse=True)
def _small_numbers_are_numbers() -> Iterator[None]:
    """Training makes the processor take the smallest floats for zero; Hypothesis refuses to work then."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A zoo of the test's own: `fashion` (conditional), `digits-mlp` and `blobs` (unconditional)."""
    return make_zoo(tmp_path / "zoo")


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of the module's own: `start_server(zoo, GANYMEDE_X="…")`; stops them at the end."""
    logs = tmp_path_factory.mktemp("logs")
    running: list[ServerProcess] = []

    def start(zoo: Path, **settings: str) -> ServerProcess:
        server = ServerProcess(zoo, logs / f"server-{len(running)}.log", **settings)
        running.append(server)
        return server

    yield start
    for server in running:
        server.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server with a tiny model of each family, shared by all tests that change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    zoo = make_translators(make_zoo(folder / "zoo"))
    make_entry(zoo, "knobs", "infogan")
    make_entry(zoo, "reader", "semi")
    process = ServerProcess(zoo, folder / "server.log", GANYMEDE_MAX_BODY_BYTES="200000")
    process.wait_until_ready()
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> httpx2.Client:
    """A client of the shared server."""
    return server.client
