"""Tar shards, as the `webdataset` library reads them: for each picture `.png`, `.cls` (the class's index) and `.json`."""

import json
import tarfile
from collections.abc import Iterator, Sequence

from app.datasets.formats.row import Hashed, Row, Shard, Spec

NAME, SIZE, CHECKSUM = slice(0, 100), slice(124, 135), slice(148, 156)  # where a header has them, says POSIX (ustar)


def _blank() -> bytearray:
    """The header of a file without name and size, and without times and owners."""
    entry = tarfile.TarInfo()
    entry.mode = 0o644
    header = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    header[CHECKSUM] = b" " * 8  # as which it counts in its own sum
    return header


BLANK = _blank()


class WebDataset:
    """POSIX tar, as `tarfile` writes it; a header that is only filled in costs a sixth of one that it makes anew."""

    def __init__(self, outs: Sequence[Hashed], spec: Spec, shard: Shard, shape: tuple[int, int, int]) -> None:
        del shard, shape
        self._out, self._spec = outs[0], spec

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:  # large pictures are not copied all at once
            self._out.write(b"".join(self._blocks(row)))

    def end(self) -> None:
        self._out.write(bytes(2 * tarfile.BLOCKSIZE))
        self._out.write(bytes(-self._out.tell() % tarfile.RECORDSIZE))

    def _blocks(self, row: Row) -> Iterator[bytes | bytearray]:
        names = self._spec.label_names
        about = {"seed": row.seed, "label": names[row.label] if names else None}
        yield from member(f"{row.index:08d}.png", bytes(row.picture))
        yield from member(f"{row.index:08d}.cls", str(row.label).encode())
        yield from member(f"{row.index:08d}.json", json.dumps(about).encode())


def member(name: str, data: bytes) -> tuple[bytearray, bytes, bytes]:
    """A file in a tar archive: its header, what is in it, and zeros up to the next block. The name is ASCII, below 100 long."""
    header = BLANK.copy()
    header[NAME] = name.encode("ascii").ljust(100, b"\0")
    header[SIZE] = b"%011o" % len(data)
    header[CHECKSUM] = b"%06o\0 " % sum(header)
    return header, data, bytes(-len(data) % tarfile.BLOCKSIZE)
