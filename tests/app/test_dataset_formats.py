"""Bytes of a data set's files against those of the library that has them for its trade."""

import io
import json
import tarfile

import pytest

from app.datasets.formats.row import Hashed, Row
from app.datasets.formats.webdataset import WebDataset
from app.datasets.spec import Shard, Spec

SPEC = Spec("fashion", 1, ("boot", "schöner Hut"), (30, 30), 7, 1.0, "webdataset", 60, {"train": 1.0})


@pytest.mark.parametrize("count", [0, 1, 3, 60])
def test_a_shard_is_what_tarfile_would_write(count: int) -> None:
    rows = [Row(10**6 * i, 2**62 + i, i % 2, bytes([i]) * (400 + 37 * i)) for i in range(count)]
    mine, theirs = io.BytesIO(), io.BytesIO()
    writer = WebDataset([Hashed(mine)], SPEC, Shard("train", 0, 1, 0, 60), (28, 28, 1))
    writer.add(rows[:2])
    writer.add(rows[2:])
    writer.end()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            about = json.dumps({"seed": row.seed, "label": SPEC.label_names[row.label]})
            for extension, data in (("png", bytes(row.picture)), ("cls", b"%d" % row.label), ("json", about.encode())):
                entry = tarfile.TarInfo(f"{row.index:08d}.{extension}")
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))
    assert mine.getvalue() == theirs.getvalue()
