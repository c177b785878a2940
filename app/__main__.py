"""`python -m app`: runs the service as the environment says."""

import argparse
import logging
import signal
import sys

import uvicorn
from prometheus_client import disable_created_metrics
from pydantic import ValidationError

from app import settings as settings_module
from app.engine.device import DeviceError, open_device
from app.main import create_app
from app.settings import PREFIX, Settings
from app.telemetry import configure_logging

log = logging.getLogger("app")

BAD_SETTINGS = 2


def explain(error: ValidationError) -> str:
    """Which variables are wrong, one a line."""
    lines = []
    for e in error.errors():
        where = PREFIX + str(e["loc"][0]).upper() if e["loc"] else "settings"
        lines.append(f"{where}: {e['msg']}")
    return "\n".join(lines)


def read_settings() -> Settings:
    """Settings that can work here. Exits with 2 and a message where they can't."""
    try:
        settings = Settings()
        open_device(settings.device, settings.precision, settings.cpu_threads)
    except ValidationError as error:
        sys.stderr.write(f"ganymede: bad settings\n{explain(error)}\n`python -m app --help` lists all settings\n")
        raise SystemExit(BAD_SETTINGS) from None
    except DeviceError as error:
        sys.stderr.write(f"ganymede: bad settings\n{error}\n")
        raise SystemExit(BAD_SETTINGS) from None
    return settings


def main() -> None:
    """Parses the command line (there is nothing but help), reads the environment, and serves until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Serves the pictures of published models over HTTP. Everything is set by environment variables:",
        epilog=settings_module.as_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    settings = read_settings()
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which nobody reads
    configure_logging(settings.log_level)
    for name, nearest in settings_module.unknown_variables().items():
        log.warning("%s is no setting of this service%s", name, f"; did you mean {nearest}?" if nearest else "")
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # the app logs requests itself, with their ids
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    server = uvicorn.Server(config)

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal again once it has shut down, to tell whoever called it: here, stopping when told is success
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run()
    if not server.started:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
