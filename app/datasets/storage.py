"""Where the files of jobs are: a local folder, or anything that Arrow opens by its URL (s3://…). `<job>/<file>`.

Plain blocking functions, for helper threads. A file is there as a whole or not at all.
"""

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pyarrow import fs

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
    """A bucket, or whatever else Arrow knows. Files are written here first, and are put there in one go."""

    def __init__(self, url: str) -> None:
        self._fs, root = fs.FileSystem.from_uri(url)
        self._root = root.rstrip("/")

    @contextlib.contextmanager
    def write(self, job: str, name: str) -> Iterator[IO[bytes]]:
        with tempfile.NamedTemporaryFile(prefix="ganymede-") as out:
            yield out
            out.flush()
            here = fs.LocalFileSystem()
            fs.copy_files(out.name, self._path(job, name), source_filesystem=here, destination_filesystem=self._fs)

    def read(self, job: str, name: str) -> IO[bytes]:
        opened: IO[bytes] = self._fs.open_input_file(self._path(job, name))
        return opened

    def remove(self, job: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._path(job, name))

    def delete(self, job: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.delete_dir(self._path(job))

    def jobs(self) -> list[str]:
        return [entry.base_name for entry in self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))]

    def clean(self, job: str) -> None:
        """Nothing that is unfinished is ever there."""

    def _path(self, *names: str) -> str:
        return "/".join((self._root, *names))


def open_storage(place: str) -> Storage:
    """A folder by its path, or another place by its URL."""
    return RemoteStorage(place) if "://" in place else LocalStorage(Path(place))
