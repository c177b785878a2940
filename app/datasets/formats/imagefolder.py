"""A zip with a folder for each class, as Keras and torchvision read it, and `metadata.csv` for Hugging Face's `imagefolder`.

That one can do without where it finds folders, but not in every version where it finds them in a zip.
"""

import csv
import io
import zipfile
from collections.abc import Sequence

from app.datasets.formats.row import Hashed, Row, Shard, Spec, folder_names

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold: the same pictures make the same bytes


class ImageFolder:
    """`<split>/<class>/<index>.png`, not compressed again."""

    def __init__(self, outs: Sequence[Hashed], spec: Spec, shard: Shard, shape: tuple[int, int, int]) -> None:
        del shape
        self._zip = zipfile.ZipFile(outs[0], "w")  # it asks for no more than write, tell and flush
        self._split, self._folders = shard.split, folder_names(spec.label_names)
        self._label_names = spec.label_names
        self._table = io.StringIO(newline="")
        self._csv = csv.writer(self._table, lineterminator="\n")
        self._csv.writerow(["file_name", *(["label"] if spec.label_names else []), "seed"])

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            name = f"{self._split}/{self._folders[row.label]}/{row.index:08d}.png"
            label = [self._label_names[row.label]] if self._label_names else []
            self._csv.writerow([name, *label, row.seed])
            self._put(name, bytes(row.picture))

    def end(self) -> None:
        self._put("metadata.csv", self._table.getvalue().encode())
        self._zip.close()

    def _put(self, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, EPOCH)
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, data)
