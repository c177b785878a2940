"""Bare arrays: MNIST's IDX files, and NumPy's npz."""

import struct
import zipfile
from collections.abc import Sequence

import numpy as np

from app.datasets.formats.imagefolder import EPOCH
from app.datasets.formats.row import Hashed, Row, Shard, Spec

IDX_UBYTE = 0x08


class Idx:
    """`…images-idx3-ubyte` (n, height, width) and `…labels-idx1-ubyte` (n); colour is `idx4` (n, height, width, channels)."""

    def __init__(self, outs: Sequence[Hashed], spec: Spec, shard: Shard, shape: tuple[int, int, int]) -> None:
        del spec
        self._images, self._labels = outs
        sides = shape[:2] if shape[2] == 1 else shape
        count = shard.stop - shard.start
        self._images.write(struct.pack(f">HBB{1 + len(sides)}I", 0, IDX_UBYTE, 1 + len(sides), count, *sides))
        self._labels.write(struct.pack(">HBBI", 0, IDX_UBYTE, 1, count))

    def add(self, rows: Sequence[Row]) -> None:
        self._images.write(np.stack([np.asarray(row.picture) for row in rows]).tobytes())
        self._labels.write(bytes(row.label for row in rows))

    def end(self) -> None:
        """Nothing comes after the last."""


class Npz:
    """`images` uint8 (n, height, width, channels), `labels` int64 (n), `seeds` int64 (n), and `label_names`."""

    def __init__(self, outs: Sequence[Hashed], spec: Spec, shard: Shard, shape: tuple[int, int, int]) -> None:
        self._zip = zipfile.ZipFile(outs[0], "w")  # it asks for no more than write, tell and flush
        self._names = np.array(spec.label_names, dtype=np.str_)
        self._labels: list[int] = []
        self._seeds: list[int] = []
        self._images = self._zip.open(zipfile.ZipInfo("images.npy", EPOCH), "w", force_zip64=True)
        header = {"descr": "|u1", "fortran_order": False, "shape": (shard.stop - shard.start, *shape)}
        np.lib.format.write_array_header_1_0(self._images, header)

    def add(self, rows: Sequence[Row]) -> None:
        self._images.write(np.stack([np.asarray(row.picture) for row in rows]).tobytes())
        self._labels += [row.label for row in rows]
        self._seeds += [row.seed for row in rows]

    def end(self) -> None:
        self._images.close()
        arrays = {
            "labels": np.array(self._labels, np.int64),
            "seeds": np.array(self._seeds, np.int64),
            "label_names": self._names,
        }
        for name, array in arrays.items():
            with self._zip.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w") as out:
                np.lib.format.write_array(out, array, allow_pickle=False)
        self._zip.close()
