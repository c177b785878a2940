"""Several processes behind one port: the same pictures, one page of metrics, and one that dies is replaced."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from server_process import PATIENCE_S, ServerProcess
from zoo_factory import make_zoo

Start = Callable[..., ServerProcess]
ASKED = 24


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, start_server: Start) -> ServerProcess:
    return start_server(make_zoo(tmp_path_factory.mktemp("several")), GANYMEDE_PROCESSES="2")


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


def serves_all_the_time(server: ServerProcess, processes: int) -> bool:
    """Whether so many have begun to take connections; none that was taken may have met one without its models."""
    begun = server.log().count("Application startup complete")
    if not begun:
        return False  # nobody listens yet
    answers = [httpx2.get(f"{server.url}/v1/images/fashion/7.png", timeout=PATIENCE_S) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    return begun == processes


def test_a_process_takes_no_connection_before_its_models_are_loaded(several: ServerProcess) -> None:
    """The first test: the other process may still be on its way."""
    several.wait_for(lambda: serves_all_the_time(several, 2))


def counted(server: ServerProcess) -> float:
    """Requests for single pictures, as /metrics tells."""
    page = httpx2.get(f"{server.url}/metrics").text
    assert "ganymede_queue_pixels" in page and "ganymede_model_memory_bytes" in page
    lines = [line for line in page.splitlines() if line.startswith("ganymede_requests_total") and "/v1/images/" in line]
    return sum(float(line.split()[-1]) for line in lines)


def test_every_process_draws_the_same_and_all_are_counted_on_one_page(several: ServerProcess) -> None:
    url, before = f"{several.url}/v1/images/fashion/7.png", counted(several)
    assert len({httpx2.get(url).content for _ in range(ASKED)}) == 1  # a connection each: either process may take it
    assert counted(several) == before + ASKED


def test_a_killed_process_is_replaced(several: ServerProcess) -> None:
    first, second = workers(several)
    os.kill(first, signal.SIGKILL)
    several.wait_for(lambda: serves_all_the_time(several, 3))
    assert len(workers(several)) == 2 and second in workers(several)


def test_all_of_them_stop_when_told(several: ServerProcess) -> None:
    """The last test that uses the server: it ends it."""
    serving = workers(several)
    several.terminate()
    assert several.exit_code() == 0
    assert [pid for pid in serving if Path(f"/proc/{pid}").exists()] == []
