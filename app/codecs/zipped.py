"""A zip of PNGs with `metadata.csv`: what `datasets.load_dataset("imagefolder", …)` reads."""

import csv
import io
import zipfile
from collections.abc import Sequence

from app.codecs.picture import Encoded

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date a zip can hold: the same pictures make the same bytes


def encode(pngs: Sequence[Encoded]) -> bytes:
    """One PNG a picture, and `metadata.csv` with file_name, label, seed, model, version."""
    out = io.BytesIO()
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    labelled = any(p.provenance.label is not None for p in pngs)
    writer.writerow(["file_name", *(["label"] if labelled else []), "seed", "model", "version"])
    with zipfile.ZipFile(out, "w") as archive:
        for i, picture in enumerate(pngs):
            name, source = f"{i:06d}.png", picture.provenance
            _add(archive, name, picture.data)
            label = [source.label or ""] if labelled else []
            writer.writerow([name, *label, "" if source.seed is None else source.seed, source.model, source.version])
        _add(archive, "metadata.csv", table.getvalue().encode())
    return out.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
