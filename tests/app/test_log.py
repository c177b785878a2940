"""The log: the lines of requests wait for each other, and nothing else does."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.telemetry import LINES_WAIT_S, JsonFormatter, Lines, RequestLine, flush_log, log_request, pieces

LOG = logging.getLogger("app.requests")
STRANGE = RequestLine("id-1", "GET", '/v1/"\\\n\u2603\ud800', "/v1/models/{reference}", 200, "blobs", 2.5)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is written by a root logger that writes to it alone."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = io.StringIO()
    root.handlers, root.level = [Lines(written)], logging.INFO
    yield written
    root.handlers, root.level = handlers, level


def paths(stream: io.StringIO) -> list[str]:
    """Of the lines that were written; the message of those that are of no request."""
    return [line.get("path", line["message"]) for line in map(json.loads, stream.getvalue().splitlines())]


def requested(path: str) -> None:
    log_request(LOG, logging.INFO, STRANGE._replace(path=path))


def test_lines_of_requests_wait_a_moment_and_are_written_in_order(stream: io.StringIO) -> None:
    async def check() -> None:
        requested("/1")
        requested("/2")
        assert paths(stream) == []
        await asyncio.sleep(3 * LINES_WAIT_S)
        assert paths(stream) == ["/1", "/2"]
        requested("/3")
        logging.getLogger("app").error("broken")
        assert paths(stream)[2:] == ["/3", "broken"]
        requested("/4")
        flush_log()
        assert paths(stream)[4:] == ["/4"]

    asyncio.run(check())


def test_a_request_has_the_line_that_any_other_message_would_have(stream: io.StringIO) -> None:
    async def check() -> None:
        log_request(LOG, logging.INFO, STRANGE)

    asyncio.run(check())
    flush_log()
    record = LOG.makeRecord(LOG.name, logging.INFO, "", 0, "request", (), None, extra=STRANGE._asdict())
    expected = json.loads(JsonFormatter().format(record))
    found = json.loads(stream.getvalue())
    assert found.pop("time")[:10] == expected.pop("time")[:10]
    assert list(found.items()) == list(expected.items())


def test_a_log_that_goes_elsewhere_gets_requests_too(stream: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger().handlers = [caplog.handler]
    requested("/elsewhere")
    assert [getattr(record, "path", None) for record in caplog.records] == ["/elsewhere"]


def test_a_library_s_warning_is_a_line_like_any_other() -> None:
    code = "import warnings, app.telemetry as t; t.configure_logging('info'); warnings.warn('of two\\nlines', stacklevel=1)"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["level"] == "warning" and "of two\nlines" in line["message"]


def test_lines_are_not_cut_up() -> None:
    lines = ["a" * 10, "b" * 10, "c" * 50, "d"]
    assert list(pieces(lines, 22)) == ["a" * 10 + "\n" + "b" * 10 + "\n", "c" * 50 + "\n", "d\n"]
    assert list(pieces([], 22)) == []
    assert all(len(piece) <= 22 for piece in pieces(["x" * 10] * 9, 22))
