"""Runs the service in this process until it is told to stop."""

import gc
import signal
import sys

import uvicorn
from prometheus_client import disable_created_metrics

from app.engine.device import open_device
from app.main import create_service
from app.settings import Settings

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
    open_device(settings.device, settings.precision, settings.cpu_threads)  # found out now, not when the app has started
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which nobody reads
    config = uvicorn.Config(
        create_service(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # the app logs requests itself, with their ids
        server_header=False,
        ws_max_size=settings.max_body_bytes,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    server = uvicorn.Server(config)

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal again once it has shut down, to tell whoever called it: here, stopping when told is success
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    tune_interpreter()
    server.run()
    return server.started
