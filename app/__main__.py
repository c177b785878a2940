"""`python -m app`: runs the service as the environment says."""

import argparse
import logging
import sys

from pydantic import ValidationError

from app.settings import PREFIX, Settings, as_text, unknown_variables
from app.telemetry import configure_logging

log = logging.getLogger("app")

BAD_SETTINGS = 2


def explain(error: ValidationError) -> str:
    """Which variables are wrong, one a line."""
    return "\n".join(f"{PREFIX + str(e['loc'][0]).upper() if e['loc'] else 'settings'}: {e['msg']}" for e in error.errors())


def refuse(reason: str) -> SystemExit:
    """Tells whoever started the service why it does not run."""
    sys.stderr.write(f"ganymede: bad settings\n{reason}\n`python -m app --help` lists all settings\n")
    return SystemExit(BAD_SETTINGS)


def main() -> None:
    """Parses the command line (there is nothing but help), reads the environment, and serves until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Serves the pictures of published models over HTTP. Everything is set by environment variables:",
        epilog=as_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        raise refuse(explain(error)) from None
    configure_logging(settings.log_level)
    for name, nearest in unknown_variables().items():
        log.warning("%s is no setting of this service%s", name, f"; did you mean {nearest}?" if nearest else "")

    # torch takes seconds to import: help and bad settings are answered without it
    from app.engine.device import DeviceError  # noqa: PLC0415
    from app.serve import serve  # noqa: PLC0415

    try:
        came_up = serve(settings)
    except DeviceError as error:
        raise refuse(str(error)) from None
    raise SystemExit(0 if came_up else 1)


if __name__ == "__main__":
    main()
