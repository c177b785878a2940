"""What the service tells its operators: the definitions of its metrics, and logs as one JSON object a line."""

import asyncio
import contextlib
import json
import logging
import os
import select
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ENCODER = json.JSONEncoder(default=str)
LINES_WAIT_S = 0.05  # for others, to be written together
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

SUM: Literal["livesum"] = "livesum"  # of all processes, where there are several
MAX: Literal["livemax"] = "livemax"


class Metrics:
    """Every metric, in a registry of its own: two apps in one process do not count each other's requests."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self._of_requests: dict[tuple[str, str, int, str], tuple[Counter, Histogram]] = {}
        self.requests = Counter("ganymede_requests", "Requests answered.", ["method", "route", "status", "model"], registry=r)
        self.request_seconds = Histogram(
            "ganymede_request_seconds", "Time to answer a request.", ["route", "model"], buckets=SECONDS, registry=r
        )
        self.problems = Counter("ganymede_problems", "Requests answered with a problem, by its type.", ["type"], registry=r)
        self.requests_in_progress = Gauge(
            "ganymede_requests_in_progress", "Requests being answered.", registry=r, multiprocess_mode=SUM
        )
        self.pictures = Counter("ganymede_pictures", "Pictures drawn.", ["model", "version"], registry=r)
        self.held_pictures = 0
        self.pictures_held = Gauge(
            "ganymede_pictures_held", "Pictures sent by callers and being worked on.", registry=r, multiprocess_mode=SUM
        )
        self.open_streams = 0
        self.streams = Gauge("ganymede_streams", "Open WebSocket streams.", registry=r, multiprocess_mode=SUM)
        self.stream_messages = Counter(
            "ganymede_stream_messages", "Messages of streams, by what became of them.", ["outcome"], registry=r
        )
        self.queue_pixels = Gauge("ganymede_queue_pixels", "Pixels waiting or being drawn.", registry=r, multiprocess_mode=SUM)
        self.queue_age = Gauge(
            "ganymede_queue_age_seconds", "How long the oldest request has waited to be begun.", registry=r,
            multiprocess_mode=MAX,
        )  # fmt: skip
        self.batch_pictures = Histogram(
            "ganymede_batch_pictures", "Pictures in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=r
        )
        self.batch_seconds = Histogram(
            "ganymede_batch_seconds", "Time to draw a batch.", ["model"], buckets=SECONDS, registry=r
        )
        stage_seconds = Histogram(
            "ganymede_stage_seconds", "Time in a stage: a request in the queue, a batch being encoded.", ["stage"],
            buckets=SECONDS, registry=r,
        )  # fmt: skip
        self.queue_seconds = stage_seconds.labels("queue")
        self.encode_seconds = stage_seconds.labels("encode")
        self.failed_batches = Counter(
            "ganymede_failed_batches", "Batches that a network failed to draw.", ["model"], registry=r
        )
        self.model_bytes = Gauge(
            "ganymede_model_memory_bytes", "Weights in memory.", ["model", "version"], registry=r, multiprocess_mode=SUM
        )
        self.model_loads = Counter(
            "ganymede_model_loads", "Times that a model was read from disk, and what became of it.", ["outcome"], registry=r
        )
        self.model_evictions = Counter(
            "ganymede_model_evictions", "Times that a model made room for another in the memory budget.", registry=r
        )
        self.models_unavailable = Gauge(
            "ganymede_models_unavailable", "Zoo entries refused as broken.", registry=r, multiprocess_mode=MAX
        )

    def page(self) -> bytes:
        """What Prometheus reads: of this process, or of all of them where there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)

    def answered(self, method: str, route: str, status: int, model: str, seconds: float) -> None:
        """Counts a request."""
        kind = (method, route, status, model)
        if kind not in self._of_requests:  # kept, as finding them takes longer than counting
            counter = self.requests.labels(method, route, str(status), model)
            self._of_requests[kind] = counter, self.request_seconds.labels(route, model)
        counter, histogram = self._of_requests[kind]
        counter.inc()
        histogram.observe(seconds)

    @contextlib.contextmanager
    def picture_held(self) -> Iterator[int]:
        """Counts a picture that a caller sent while it is worked on. Gives how many there are, this one included."""
        self.held_pictures += 1
        self.pictures_held.set(self.held_pictures)
        try:
            yield self.held_pictures
        finally:
            self.held_pictures -= 1
            self.pictures_held.set(self.held_pictures)

    @contextlib.contextmanager
    def stream_open(self) -> Iterator[None]:
        """Counts a stream while it is open."""
        self.open_streams += 1
        self.streams.set(self.open_streams)
        try:
            yield
        finally:
            self.open_streams -= 1
            self.streams.set(self.open_streams)

    def drawn(self, model: str, version: int, pictures: int, draw_s: float, encode_s: float) -> None:
        """Counts a batch."""
        self.batch_pictures.observe(pictures)
        self.batch_seconds.labels(model).observe(draw_s)
        self.encode_seconds.observe(encode_s)
        self.pictures.labels(model, str(version)).inc(pictures)


class RequestLine(NamedTuple):
    """What the log tells of a request."""

    request_id: str
    method: str
    path: str
    route: str
    status: int
    model: str
    ms: float


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in STANDARD_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return ENCODER.encode(line)


class Lines(logging.Handler):
    """Log lines on a stream, in order: each is written at once, but for those of requests, which wait for a moment.

    Many of them are then written together: writing gives the interpreter away, and others have their turn with it first.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._stream = stream
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, after those that wait."""
        try:
            self._waiting.append(self.format(record))
            self.flush()
        except Exception:  # noqa: BLE001  # as logging's own handlers do: nobody fails because of a line in the log
            self.handleError(record)

    def add(self, line: str) -> None:
        """Leaves a line to be written soon. On the event loop."""
        self.acquire()
        if not self._waiting:
            asyncio.get_running_loop().call_later(LINES_WAIT_S, self.flush)
        self._waiting.append(line)
        self.release()

    def flush(self) -> None:
        """Writes what waits."""
        self.acquire()
        try:
            lines, self._waiting = self._waiting, []
            for piece in pieces(lines, select.PIPE_BUF):  # of which pipes make one whole: processes that share one don't mix
                self._stream.write(piece)
                self._stream.flush()
        except OSError:
            pass  # nobody reads it, so there is nobody to tell
        finally:
            self.release()


def pieces(lines: Iterable[str], most: int) -> Iterator[str]:
    """Lines, as many together as have no more than `most` characters; longer ones by themselves."""
    piece = ""
    for line in lines:
        if piece and len(piece) + len(line) >= most:
            yield piece
            piece = ""
        piece += line + "\n"
    if piece:
        yield piece


def log_request(log: logging.Logger, level: int, request: RequestLine) -> None:
    """A request's line: through `Lines`, where the process's log goes there, and else as any other line."""
    lines = next((handler for handler in logging.root.handlers if isinstance(handler, Lines)), None)
    if lines is None:
        log.log(level, "request", extra=request._asdict())
        return
    request_id, method, path, route, status, model, ms = request
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    lines.add(  # by hand, in a fifth of the time: of all that it holds, only the path may need to be escaped
        f'{{"time": "{time}", "level": "{logging.getLevelName(level).lower()}", "logger": "{log.name}", "message": "request", '
        f'"request_id": "{request_id}", "method": "{method}", "path": {ENCODER.encode(path)}, "route": "{route}", '
        f'"status": {status}, "model": "{model}", "ms": {ms:.2f}}}'
    )


def flush_log() -> None:
    """Writes all lines that wait."""
    for handler in logging.root.handlers:
        handler.flush()


def configure_logging(level: str) -> None:
    """Sends every log record to standard error as JSON. For the process's entry point; importing changes nothing."""
    # what no line shows need not be found out: https://docs.python.org/3/howto/logging.html#optimization
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(handlers=[Lines(sys.stderr)], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)  # they would be lines of another kind
    for name in ("uvicorn", "uvicorn.error"):  # and not its access log: requests are told of here already
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
