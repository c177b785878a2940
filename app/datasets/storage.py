"""Where the files of jobs are: a local folder, or anything that fsspec opens by its URL (s3://…). `<job>/<file>`.

Plain blocking functions, for helper threads. A file is there as a whole or not at all.
"""

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec

from models.checkpoint import sync_folder

STAGED = ".staged-"  # what files are called until they are whole


class Storage(ABC):
    """Files by job and name."""

    @abstractmethod
    def write(self, job: str, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """A new file, which appears, on the disk for good, when the context is left without an error."""

    @abstractmethod
    def read(self, job: str, name: str) -> IO[bytes]:
        """A file from its beginning; it can be sought in. Raises FileNotFoundError."""

    @abstractmethod
    def remove(self, job: str, name: str) -> None:
        """Removes a file, if it is there."""

    @abstractmethod
    def delete(self, job: str) -> None:
        """Removes all that a job has written."""

    @abstractmethod
    def jobs(self) -> list[str]:
        """Jobs that have files."""

    @abstractmethod
    def clean(self, job: str) -> None:
        """Removes what unfinished writing has left."""


class LocalStorage(Storage):
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextlib.contextmanager
    def write(self, job: str, name: str) -> Iterator[IO[bytes]]:
        folder = self._root / job
        folder.mkdir(parents=True, exist_ok=True)
        staging = folder / f"{STAGED}{name}"
        try:
            with staging.open("wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            staging.replace(folder / name)
            sync_folder(folder)
        except BaseException:
            staging.unlink(missing_ok=True)
            raise

    def read(self, job: str, name: str) -> IO[bytes]:
        return (self._root / job / name).open("rb")

    def remove(self, job: str, name: str) -> None:
        (self._root / job / name).unlink(missing_ok=True)

    def delete(self, job: str) -> None:
        shutil.rmtree(self._root / job, ignore_errors=True)

    def jobs(self) -> list[str]:
        return [p.name for p in self._root.iterdir() if p.is_dir()] if self._root.exists() else []

    def clean(self, job: str) -> None:
        for path in (self._root / job).glob(f"{STAGED}*"):
            path.unlink(missing_ok=True)


class RemoteStorage(Storage):
    """A bucket, or whatever else fsspec knows. Files are written here first, and are put there in one go."""

    def __init__(self, url: str) -> None:
        fs, root = fsspec.core.url_to_fs(url)
        self._fs: Any = fs
        self._root = root.rstrip("/")

    @contextlib.contextmanager
    def write(self, job: str, name: str) -> Iterator[IO[bytes]]:
        with tempfile.NamedTemporaryFile(prefix="ganymede-") as out:
            yield out
            out.flush()
            self._fs.put_file(out.name, f"{self._root}/{job}/{name}")

    def read(self, job: str, name: str) -> IO[bytes]:
        opened: IO[bytes] = self._fs.open(f"{self._root}/{job}/{name}", "rb")
        return opened

    def remove(self, job: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{job}/{name}")

    def delete(self, job: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{job}", recursive=True)

    def jobs(self) -> list[str]:
        try:
            return [entry.rstrip("/").rpartition("/")[2] for entry in self._fs.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []

    def clean(self, job: str) -> None:
        """Nothing that is unfinished is ever there."""


def open_storage(place: str) -> Storage:
    """A folder by its path, or another place by its URL."""
    return RemoteStorage(place) if "://" in place else LocalStorage(Path(place))
