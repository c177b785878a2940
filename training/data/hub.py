"""Data sets of the Hugging Face hub by name, or saved in a local folder, through the `datasets` library."""

import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from training.data.config import DataConfig, Split
from training.data.errors import DataError, NoTestSplitError
from training.data.labelled import LabelledImages
from training.data.pictures import MAX_FILE_BYTES, BrokenPictureError, Item, collect

SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "validation", "valid", "val")}


def load(config: DataConfig, split: Split) -> LabelledImages:
    """Reads one split. The picture column is the first of type Image; the label column is the first ClassLabel.

    Without a ClassLabel, a text column `label` is taken. Raises DataError, which says what to do.
    """
    datasets = _library()
    separate = split == "test" and config.test_path is not None
    table = _open(datasets, config.test_path if separate and config.test_path is not None else config.path)
    rows = _split(table, split, config.name, whole=separate)
    pictures = next((name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)), None)
    if pictures is None:
        raise DataError(f"{config.name} has no column of type Image: {', '.join(rows.features)}. Choose another data set")
    label_column, own_names = _labels(datasets, rows)
    names = own_names
    if split == "test":
        # a split on its own may number its labels otherwise: the train split's numbers hold
        names = _labels(datasets, _split(_open(datasets, config.path), "train", config.name, whole=False))[1]
    if unknown := [name for name in own_names if name not in names]:
        raise DataError(f"the {split} split of {config.name} has a class '{unknown[0]}' that the train split lacks. Remove it")
    # undecoded: our own decoder bounds sizes, turns pictures upright and composites alpha
    rows = rows.select_columns([c for c in (pictures, label_column) if c]).cast_column(pictures, datasets.Image(decode=False))
    items = _items(rows, pictures, label_column, own_names=own_names, names=names, data=config.name)
    return collect(items, names, resolution=config.resolution, channels=config.channels)


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise DataError("data of format 'hub' needs the `datasets` library. Run: pip install 'ganymede-gan[hub]'") from error


def _open(datasets: Any, path: Path | str) -> Any:
    """A dictionary of splits, or one split."""
    folder = Path(path)
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(str(path))
    except Exception as error:  # whatever the library, its readers of many formats and the network raise
        raise DataError(f"the data set '{path}' can't be loaded ({error}). Check its name and the connection") from error


def _split(table: Any, split: Split, name: str, *, whole: bool) -> Any:
    if not isinstance(table, dict):
        if split == "train" or whole:
            return table
        raise NoTestSplitError(f"{name} has no test split. Set `test_path` in [data]")
    for candidate in SPLITS[split]:
        if candidate in table:
            return table[candidate]
    if whole and len(table) == 1:  # a lone folder of pictures is called "train" by the library
        return next(iter(table.values()))
    if split == "test":
        raise NoTestSplitError(f"{name} has no test split, only: {', '.join(table)}. Set `test_path` in [data]")
    raise DataError(f"{name} has no train split, only: {', '.join(table)}. Choose another data set")


def _labels(datasets: Any, rows: Any) -> tuple[str | None, tuple[str, ...]]:
    """The label column and the labels' names; (None, ()) for unlabelled data."""
    for column, kind in rows.features.items():
        if isinstance(kind, datasets.ClassLabel):
            return column, tuple(kind.names)
    if getattr(rows.features.get("label"), "dtype", None) in ("string", "large_string"):
        return "label", tuple(sorted(name for name in rows.unique("label") if name))
    return None, ()


def _items(
    rows: Any, pictures: str, label_column: str | None, *, own_names: tuple[str, ...], names: tuple[str, ...], data: str
) -> Iterator[Item]:
    index = {name: i for i, name in enumerate(names)}
    for number, row in enumerate(rows):
        label = row[label_column] if label_column else 0
        if isinstance(label, int) and own_names:
            label = own_names[label] if 0 <= label < len(own_names) else None  # the library marks "no label" as -1
        if isinstance(label, str):
            label = index.get(label)
        if label is None:
            raise DataError(f"row {number} of {data} has no label. Choose a split with labels")
        cell = row[pictures] or {}
        name = f"row {number}" + (f" ({Path(cell['path']).name})" if cell.get("path") else "")
        yield Item(name, label, partial(_bytes, cell))


def _bytes(cell: dict[str, Any]) -> bytes:
    """An undecoded Image cell: bytes, or the path of a file."""
    data: bytes | None = cell.get("bytes")
    if data is None and not cell.get("path"):
        raise BrokenPictureError("is empty")
    if data is None:
        path = Path(cell["path"])
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BrokenPictureError(f"more than {MAX_FILE_BYTES} bytes")
        data = path.read_bytes()
    if len(data) > MAX_FILE_BYTES:
        raise BrokenPictureError(f"more than {MAX_FILE_BYTES} bytes")
    return data
