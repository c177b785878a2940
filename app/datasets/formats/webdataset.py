"""Tar shards, as the `webdataset` library reads them: for each picture `.png`, `.cls` (the class's index) and `.json`."""

import io
import json
import tarfile
from collections.abc import Sequence

from app.datasets.formats.row import Hashed, Row, Shard, Spec


class WebDataset:
    """POSIX tar without times and owners."""

    def __init__(self, outs: Sequence[Hashed], spec: Spec, shard: Shard, shape: tuple[int, int, int]) -> None:
        del shard, shape
        self._tar = tarfile.TarFile(fileobj=outs[0], mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[arg-type]
        self._spec = spec

    def add(self, rows: Sequence[Row]) -> None:
        names = self._spec.label_names
        for row in rows:
            about = {"seed": row.seed, "label": names[row.label] if names else None}
            self._put(f"{row.index:08d}.png", bytes(row.picture))
            self._put(f"{row.index:08d}.cls", str(row.label).encode())
            self._put(f"{row.index:08d}.json", json.dumps(about).encode())

    def end(self) -> None:
        self._tar.close()

    def _put(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o644
        self._tar.addfile(entry, io.BytesIO(data))
