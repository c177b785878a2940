"""A real server in a process of its own, and what it costs."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SURE = 20  # answers in a row of which one would have come from any process


@dataclass(frozen=True)
class Server:
    """A service that is ready."""

    process: subprocess.Popen[bytes]
    port: int
    ready_after_s: float  # from the start of the process to its first 200 of /readyz

    def wait_for(self, model: str) -> None:
        """Until the model is loaded: the service is ready as soon as its default model is."""
        while self.process.poll() is None:
            with (
                contextlib.suppress(urllib.error.URLError),
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models/{model}"),
            ):
                return
            time.sleep(0.05)

    def wait_for_all(self, zoo: Path) -> None:
        """Until all models are loaded, by each of its processes: while others are, everything is slow."""
        wanted, answers = len([folder for folder in zoo.iterdir() if folder.is_dir()]), 0
        while answers < SURE and self.process.poll() is None:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models") as answer:
                answers = answers + 1 if len(json.load(answer)["data"]) == wanted else 0
            time.sleep(0.02)

    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Resident memory; `VmHWM` for its peak."""
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else float("nan")


@contextlib.contextmanager
def serving(zoo: Path, **settings: str) -> Iterator[Server]:
    """A server of this zoo on a free port, stopped on leaving."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        environment = {**os.environ, "GANYMEDE_PORT": "0", "GANYMEDE_MODELS_DIR": str(zoo), **settings}
        began = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", "app"], env=environment, stdout=output, stderr=output)
        try:
            port = _port(process, log)
            yield Server(process, port, time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port, once the service is ready."""
    while process.poll() is None:
        if found := re.search(r"running on http://[\d.]+:(\d+)", log.read_text()):
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/readyz"):
                return int(found[1])
        time.sleep(0.01)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")
