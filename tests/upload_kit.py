"""Reading an upload in a test, and what it may cost."""

import contextlib
import time
import tracemalloc
from collections.abc import Iterator

from app.codecs.upload import (
    Upload,
    read_picture,
)

LIMIT = 2**16


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Generously, as other work may keep this core busy: what it is for takes a hundred times as long."""
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


@contextlib.contextmanager
def peak_below(count: int) -> Iterator[None]:
    """Of what Python and NumPy hold; it takes a while."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < count
    finally:
        tracemalloc.stop()


def read(data: bytes, max_pixels: int = LIMIT) -> Upload:
    return read_picture(data, max_pixels=max_pixels)
