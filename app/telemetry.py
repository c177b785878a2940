"""What the service tells its operators: the definitions of its metrics, and logs as one JSON object a line."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ENCODER = json.JSONEncoder(default=str)
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

SUM: Literal["livesum"] = "livesum"  # of all processes, where there are several
MAX: Literal["livemax"] = "livemax"


class Metrics:
    """Every metric, in a registry of its own: two apps in one process do not count each other's requests."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
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
        self.requests.labels(method, route, str(status), model).inc()
        self.request_seconds.labels(route, model).observe(seconds)

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


def log_quickly(logger: logging.Logger, level: int, message: str, extra: Mapping[str, Any]) -> None:
    """As `logger.log`, for lines that are written thousands of times a second: without looking for the line of code."""
    record = logging.LogRecord(logger.name, level, "", 0, message, None, None)
    vars(record).update(extra)
    logger.handle(record)


def configure_logging(level: str) -> None:
    """Sends every log record to standard error as JSON. For the process's entry point; importing changes nothing."""
    # what no line shows need not be found out: https://docs.python.org/3/howto/logging.html#optimization
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
