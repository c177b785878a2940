"""Data sets: one loader for each format, all giving the same `LabelledImages`."""

from collections.abc import Callable

from training.data import hub, idx, imagefolder
from training.data.config import DataConfig, Format, Split
from training.data.errors import DataError, NoTestSplitError
from training.data.labelled import LabelledImages
from training.data.locate import locate

Loader = Callable[[DataConfig, Split], LabelledImages]

# to add a format: write its file here, and one line in this table and in `config.Format`
DATASETS: dict[Format, Loader] = {
    "idx": idx.load,
    "imagefolder": imagefolder.load,
    "hub": hub.load,
}


def load(config: DataConfig, split: Split) -> LabelledImages:
    """Reads one split of the data set that `config` describes, whole, in a fixed order.

    Paths are looked for as they are, then below the data folders (see `locate`).
    Raises DataError (NoTestSplitError where there is no test split), whose text says what to do.
    """
    found = {"path": locate(config.path), "test_path": config.test_path and locate(config.test_path)}
    return DATASETS[config.format](config.model_copy(update={k: v for k, v in found.items() if v}), split)


__all__ = ["DATASETS", "DataConfig", "DataError", "Format", "LabelledImages", "Loader", "NoTestSplitError", "Split", "load"]
