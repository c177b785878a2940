"""Several processes behind one port: the same pictures, one page of metrics, and one that dies is replaced."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from server_process import ServerProcess
from zoo_factory import make_zoo

Start = Callable[..., ServerProcess]
ASKED = 24


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, start_server: Start) -> ServerProcess:
    server = start_server(make_zoo(tmp_path_factory.mktemp("several")), GANYMEDE_PROCESSES="2")
    server.wait_for(lambda: len(ready(server)) == 2)
    return server


def workers(server: ServerProcess) -> list[int]:
    """The processes that serve: children of the first whose command says that they were spawned for it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server.pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it ended in between
    return found


def ready(server: ServerProcess) -> set[int]:
    """The processes that have begun to serve, as the log tells, while every answer says that models are loaded."""
    return {pid for pid in workers(server) if f"process [{pid}]" in server.log()} if answers(server) else set()


def answers(server: ServerProcess) -> bool:
    try:
        addresses = (f"{server.url}/readyz", f"{server.url}/v1/models/fashion")  # ready, and done with what it draws here
        return all(httpx2.get(url).status_code == 200 for _ in range(8) for url in addresses)
    except httpx2.TransportError:
        return False


def test_every_process_draws_the_same_and_all_are_counted_on_one_page(several: ServerProcess) -> None:
    url = f"{several.url}/v1/images/fashion/7.png"
    assert len({httpx2.get(url).content for _ in range(ASKED)}) == 1  # a connection each: either process may take it
    page = httpx2.get(f"{several.url}/metrics").text
    counted = [line for line in page.splitlines() if line.startswith("ganymede_requests_total") and "/v1/images/" in line]
    assert sum(float(line.split()[-1]) for line in counted) == ASKED
    assert "ganymede_queue_pixels" in page and "ganymede_model_memory_bytes" in page


def test_a_killed_process_is_replaced(several: ServerProcess) -> None:
    first, second = workers(several)
    os.kill(first, signal.SIGKILL)
    several.wait_for(lambda: len(set(workers(several)) - {first, second}) == 1)
    assert second in workers(several)
    several.wait_for(lambda: answers(several))
    assert httpx2.get(f"{several.url}/v1/images/fashion/7.png").status_code == 200


def test_all_of_them_stop_when_told(several: ServerProcess) -> None:
    """The last test that uses the server: it ends it."""
    serving = workers(several)
    several.terminate()
    assert several.exit_code() == 0
    assert [pid for pid in serving if Path(f"/proc/{pid}").exists()] == []
