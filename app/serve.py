"""Runs the service, in this process or in several, until it is told to stop."""

import gc
import os
import signal
import sys
import tempfile

import uvicorn
from prometheus_client import disable_created_metrics
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.engine.device import open_device
from app.main import create_service
from app.protocol import Protocol
from app.settings import Settings
from app.telemetry import configure_logging

SWITCH_S = 1e-4  # a thread that wants to run Python waits so long at most; the default of 5 ms is more than a forward takes
COLLECT_EVERY = 50_000  # allocations; what requests leave behind is freed at once, without the collector


def tune_interpreter() -> None:
    """Settings of Python for one event loop beside threads that compute.

    Everything imported so far is taken out of garbage collection: going through it all stops every thread for 0.1 s.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 50)


def serve(settings: Settings) -> bool:
    """Serves until SIGTERM or SIGINT, then finishes what was accepted; False if it never came up.

    Raises `DeviceError` for a device or precision that is not to be had here.
    """
    open_device(
        settings.device, settings.precision, settings.cpu_threads, settings.processes
    )  # found out now, not when the app has started
    if settings.processes > 1:
        return serve_in_processes(settings)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which nobody reads
    server = uvicorn.Server(configuration(create_service(settings), settings))

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal again once it has shut down, to tell whoever called it: here, stopping when told is success
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    tune_interpreter()
    server.run()
    return server.started


def configuration(app: ASGIApp | str, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves: an app, or the name of a function that makes one in each process."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        http=Protocol,
        host=settings.host,
        port=settings.port,
        workers=settings.processes,
        log_config=None,
        access_log=False,  # the app logs requests itself, with their ids
        server_header=False,
        proxy_headers=False,  # nothing here asks who the caller is, or how it came
        ws_max_size=settings.max_body_bytes,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


class Processes(Multiprocess):
    """uvicorn's: one that dies is replaced within a second. Its part of the metrics that tell of now dies with it."""

    def keep_subprocess_alive(self) -> None:
        """Called every half second."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for gone in before - {process.pid for process in self.processes}:
            mark_process_dead(gone)  # type: ignore[no-untyped-call]


def serve_in_processes(settings: Settings) -> bool:
    """Processes that share one port and one page of metrics."""
    with tempfile.TemporaryDirectory(prefix="ganymede-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by the metrics of every process
        config = configuration("app.serve:worker", settings)
        supervisor = Processes(config, sockets=[config.bind_socket()])
        supervisor.run()
        return all(process.exitcode != STARTUP_FAILURE for process in supervisor.processes)


def worker() -> ASGIApp:
    """The service in one of several processes. Settings come from the environment."""
    settings = Settings()
    configure_logging(settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    service = create_service(settings)
    tune_interpreter()
    return service
