"""What every format is written from, and the file that it is written to."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from app.datasets.spec import Shard, Spec


@dataclass(frozen=True)
class Row:
    """One picture: its place in the data set, and a PNG or pixels uint8 (H, W, C)."""

    index: int
    seed: int
    label: int
    picture: bytes | NDArray[np.uint8]


class Writer(Protocol):
    """Writes one file, front to back."""

    def add(self, rows: Sequence[Row]) -> None:
        """The next pictures, in order."""

    def end(self) -> None:
        """What comes after the last."""


class Hashed:
    """A file to write on, front to back, that knows its length and its SHA-256."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out: IO[bytes] | None = out
        self._digest = hashlib.sha256()
        self._bytes = 0
        self.closed = False

    def write(self, data: "bytes | bytearray | memoryview") -> int:
        """Appends."""
        view = memoryview(data).cast("B")
        if self._out is not None:
            self._out.write(view)
        self._digest.update(view)
        self._bytes += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes so far."""
        return self._bytes

    def forget(self) -> None:
        """What is written from now on goes nowhere: archives write their ends even when nobody wants them any more."""
        self._out = None

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """For writers that close what they were given; the file itself stays open."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def sha256(self) -> str:
        """Of everything that was written."""
        return self._digest.hexdigest()


def folder_names(label_names: Sequence[str]) -> list[str]:
    """A folder's name for each class: what file systems can't hold is replaced, and no two are alike."""
    names: list[str] = []
    for i, label in enumerate(label_names or ("pictures",)):
        plain = "".join(c if c.isalnum() or c in " .-_" else "-" for c in label).strip(" .") or f"class-{i}"
        names.append(plain if plain.casefold() not in {n.casefold() for n in names} else f"{plain}-{i}")
    return names


def shard_name(shard: Shard, extension: str) -> str:
    """As Hugging Face calls parts: train-00000-of-00003.parquet."""
    return f"{shard.split}-{shard.number:05d}-of-{shard.of:05d}.{extension}"


__all__ = ["Hashed", "Row", "Shard", "Spec", "Writer", "folder_names", "shard_name"]
