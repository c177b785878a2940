"""Data sets: one loader for each format, all giving the same `LabelledImages`."""

from collections.abc import Callable

from training.data import hub, idx, imagefolder
from training.data.config import DataConfig, Format, Split
from training.data.errors import DataError, NoTestSplitError
from training.data.holdout import hold_out
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

    Paths are looked for as they are, then below the data folders (see `locate`). Where there is no test split, a part of
    each class is held out from training instead: `config.holdout` of it, the same pictures every time.

    Raises DataError (NoTestSplitError where there is no test split and nothing is held out), whose text says what to do.
    """
    found = {"path": locate(config.path), "test_path": config.test_path and locate(config.test_path)}
    located = config.model_copy(update={k: v for k, v in found.items() if v})
    loader = DATASETS[config.format]
    if not config.holdout or _has_test_split(loader, located):
        return loader(located, split)
    return hold_out(loader(located, "train"), config.holdout, split)


def _has_test_split(loader: Loader, config: DataConfig) -> bool:
    try:
        loader(config, "test")
    except NoTestSplitError:
        return False
    except DataError:
        return True  # there is one, and whoever measures with it is told what is wrong
    return True


__all__ = ["DATASETS", "DataConfig", "DataError", "Format", "LabelledImages", "Loader", "NoTestSplitError", "Split", "load"]
