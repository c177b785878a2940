"""Parts of files, as RFC 9110 (section 14) has them: `Range: bytes=…`, one range at a time."""

import re
from dataclasses import dataclass

ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `stop` (not included) of `size`."""

    start: int
    stop: int
    size: int

    @property
    def header(self) -> str:
        """As `Content-Range` tells it."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


class UnsatisfiableError(Exception):
    """The file has nothing there."""


def part_of(header: str | None, size: int) -> Part | None:
    """What a `Range` header asks for. None: the whole file, as for headers that make no sense or ask for several ranges.

    Raises `UnsatisfiableError`.
    """
    found = ONE_RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:  # the last so many
        if not int(last) or not size:
            raise UnsatisfiableError
        return Part(max(size - int(last), 0), size, size)
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableError
    return Part(start, stop, size)
