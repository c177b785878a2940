"""A zip of PNGs with `metadata.csv`: what `datasets.load_dataset("imagefolder", …)` reads."""

import csv
import io
import zipfile

from app.codecs.picture import Encoded

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date a zip can hold: the same pictures make the same bytes


class Archive:
    """One PNG a picture, and `metadata.csv` with file_name, label, seed, model, version. Written front to back."""

    def __init__(self, count: int, fps: int) -> None:
        del count, fps  # an archive needs to know neither
        self._out = Outlet()
        self._zip = zipfile.ZipFile(self._out, "w")
        self._table = io.StringIO(newline="")
        self._rows = csv.writer(self._table, lineterminator="\n")
        self._pictures = 0
        self._labelled = False

    def add(self, picture: Encoded) -> bytes:
        """The bytes of the next file."""
        source = picture.provenance
        if not self._pictures:
            self._labelled = source.label is not None
            self._rows.writerow(["file_name", *(["label"] if self._labelled else []), "seed", "model", "version"])
        name = f"{self._pictures:06d}.png"
        self._pictures += 1
        label = [source.label or ""] if self._labelled else []
        self._rows.writerow([name, *label, "" if source.seed is None else source.seed, source.model, source.version])
        self._add(name, picture.data)
        return self._out.taken()

    def end(self) -> bytes:
        """The table, and the list of files at the end."""
        self._add("metadata.csv", self._table.getvalue().encode())
        self._zip.close()
        return self._out.taken()

    def _add(self, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, EPOCH)
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, data)


class Outlet(io.RawIOBase):
    """A file that can only be written on, and from which what was written is taken away."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._written.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self._written)
        self._written.clear()
        return data
