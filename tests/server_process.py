"""`python -m app` as a child process."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 60


class ServerProcess:
    """A running server on a free port of its own choosing; its log is a file."""

    def __init__(self, zoo: Path, log: Path, *, root: Path = ROOT, **settings: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GANYMEDE_")}
        given = {"GANYMEDE_PORT": "0", "GANYMEDE_MODELS_DIR": str(zoo), "GANYMEDE_RESCAN_SECONDS": "0.1"}
        given["GANYMEDE_STORAGE_DIR"] = str(log.parent / f"{log.stem}-storage")
        self._log = log
        self._zoo = zoo
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app"], cwd=root, env=clean | given | settings, stdout=output, stderr=output
            )
        self.url = f"http://127.0.0.1:{self._port()}"
        self.client = httpx2.Client(base_url=self.url, timeout=PATIENCE_S)

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def _port(self) -> int:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self._process.poll() is None:
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", self.log()):
                return int(found[1])
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the server did not start:\n{self.log()}")

    def log(self) -> str:
        """Everything that the server has logged."""
        return self._log.read_text()

    def wait_until_ready(self) -> None:
        """Returns once /readyz says so, and all other models of the zoo are loaded too."""
        self.wait_for(lambda: self.client.get("/readyz").status_code == 200)
        entries = len(list(self._zoo.glob("[!.]*/[0-9]*")))
        self.wait_for(lambda: len(self.client.get("/v1/models").json()["data"]) == entries)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Returns once the condition holds."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"waited {PATIENCE_S} s in vain:\n{self.log()}"
            time.sleep(0.02)

    def terminate(self) -> None:
        """Asks the server to stop."""
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Waits for the end."""
        return self._process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Asks the server to stop, and returns its exit code."""
        self.terminate()
        self.client.close()
        return self.exit_code()

    def kill(self) -> None:
        """Ends the process, whatever it is doing."""
        if hasattr(self, "client"):
            self.client.close()
        self._process.kill()
        self._process.wait(PATIENCE_S)
