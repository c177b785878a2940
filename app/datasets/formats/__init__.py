"""The formats of data sets, one line each. To add one: write its file here, and a line in this table and in `FormatName`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from app.datasets.formats.arrays import Idx, Npz
from app.datasets.formats.imagefolder import ImageFolder
from app.datasets.formats.parquet import Parquet
from app.datasets.formats.row import Hashed, Row, Writer, shard_name
from app.datasets.formats.webdataset import WebDataset
from app.datasets.spec import FormatName, Shard, Spec

Shape = tuple[int, int, int]  # of a picture: height, width, channels


@dataclass(frozen=True)
class Format:
    """How the shards of a data set are written. `names`: of a shard's files."""

    wants: Literal["png", "pixels"]
    media_type: str
    names: Callable[[Shard, Shape], list[str]]
    open: Callable[[Sequence[Hashed], Spec, Shard, Shape], Writer]


def one_file(extension: str) -> Callable[[Shard, Shape], list[str]]:
    """Of formats whose shards are one file each."""
    return lambda shard, shape: [shard_name(shard, extension)]


def idx_files(shard: Shard, shape: Shape) -> list[str]:
    """As MNIST has them, where there is one shard; else with its number."""
    split = "t10k" if shard.split == "test" else shard.split
    stem = split if shard.of == 1 else f"{split}-{shard.number:05d}-of-{shard.of:05d}"
    return [f"{stem}-images-idx{3 if shape[2] == 1 else 4}-ubyte", f"{stem}-labels-idx1-ubyte"]


FORMATS: dict[FormatName, Format] = {
    "imagefolder": Format("png", "application/zip", one_file("zip"), ImageFolder),
    "webdataset": Format("png", "application/x-tar", one_file("tar"), WebDataset),
    "parquet": Format("png", "application/vnd.apache.parquet", one_file("parquet"), Parquet),
    "idx": Format("pixels", "application/octet-stream", idx_files, Idx),
    "npz": Format("pixels", "application/octet-stream", one_file("npz"), Npz),
}

__all__ = ["FORMATS", "Format", "Hashed", "Row", "Shape", "Writer"]
