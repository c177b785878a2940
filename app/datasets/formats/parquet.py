"""Parquet with Hugging Face's features: `datasets.load_dataset("parquet", …)` gives pictures and class labels."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.datasets.formats.row import Hashed, Row, Shard, Spec

ROW_GROUP = 1000  # rows: what a reader has to hold at once


class Parquet:
    """Columns `image` ({bytes, path}), `label` if the model has classes, and `seed`."""

    def __init__(self, outs: Sequence[Hashed], spec: Spec, shard: Shard, shape: tuple[int, int, int]) -> None:
        del shard, shape
        features: dict[str, Any] = {"image": {"_type": "Image"}}
        fields = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
        if spec.label_names:
            features["label"] = {"names": list(spec.label_names), "_type": "ClassLabel"}
            fields.append(pa.field("label", pa.int64()))
        features["seed"] = {"dtype": "int64", "_type": "Value"}
        fields.append(pa.field("seed", pa.int64()))
        about = json.dumps({"info": {"features": features}})
        self._schema = pa.schema(fields, metadata={"huggingface": about})
        self._writer = pq.ParquetWriter(pa.PythonFile(outs[0], mode="w"), self._schema, compression="none")
        self._rows: list[Row] = []

    def add(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        while len(self._rows) >= ROW_GROUP:
            self._put(self._rows[:ROW_GROUP])
            del self._rows[:ROW_GROUP]

    def end(self) -> None:
        if self._rows:
            self._put(self._rows)
        self._writer.close()

    def _put(self, rows: Sequence[Row]) -> None:
        columns: dict[str, list[Any]] = {
            "image": [{"bytes": bytes(row.picture), "path": f"{row.index:08d}.png"} for row in rows],
            "label": [row.label for row in rows],
            "seed": [row.seed for row in rows],
        }
        kept = {name: columns[name] for name in self._schema.names}
        self._writer.write_table(pa.table(kept, schema=self._schema), row_group_size=ROW_GROUP)
