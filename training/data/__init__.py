"""Data sets: one loader for each format, all giving what the loop asks of `TrainingData`."""

from collections.abc import Callable

from training.data import hub, idx, imagefolder, pairs, photos, unpaired
from training.data.config import DataConfig, Format, Split
from training.data.contract import TrainingData
from training.data.errors import DataError, NoTestSplitError
from training.data.holdout import hold_out
from training.data.labelled import UNKNOWN, LabelledImages, draw_labels
from training.data.locate import locate

Loader = Callable[[DataConfig, Split], TrainingData]

# to add a format: write its file here, and one line in this table and in `config.Format`
DATASETS: dict[Format, Loader] = {
    "idx": idx.load,
    "imagefolder": imagefolder.load,
    "hub": hub.load,
    "photos": photos.load,
    "pairs": pairs.load,
    "unpaired": unpaired.load,
}


def load(config: DataConfig, split: Split) -> TrainingData:
    """Reads one split of the data set that `config` describes, whole, in a fixed order.

    Paths are looked for as they are, then below the data folders (see `locate`). Where labelled pictures have no test split,
    a part of each class is held out from training instead: `config.holdout` of it, the same pictures every time.

    Raises DataError (NoTestSplitError where there is no test split and nothing is held out), whose text says what to do.
    """
    found = {"path": locate(config.path), "test_path": config.test_path and locate(config.test_path)}
    also = tuple(locate(path) or path for path in config.also)
    located = config.model_copy(update={k: v for k, v in found.items() if v} | {"also": also})
    loader = DATASETS[config.format]
    if not config.holdout or _has_test_split(loader, located):
        data = loader(located, split)
    else:
        whole = loader(located, "train")
        if not isinstance(whole, LabelledImages):
            raise NoTestSplitError(f"{config.name} has no test split. Put a folder `test` beside its folder `train`")
        data = hold_out(whole, config.holdout, split)
    if split == "train" and isinstance(data, LabelledImages):
        if config.relabel is not None:
            data = data.relabelled(config.relabel)
        if config.labelled_per_class is not None:
            data = data.knowing(draw_labels(data.labels, config.labelled_per_class, config.label_seed))
    return data


def load_labelled(config: DataConfig, split: Split) -> LabelledImages:
    """As `load`, of single pictures. Raises DataError for data of another kind."""
    data = load(config, split)
    if not isinstance(data, LabelledImages):
        raise DataError(f"{config.name} is {config.format} data, and single pictures are needed here")
    return data


def _has_test_split(loader: Loader, config: DataConfig) -> bool:
    try:
        loader(config, "test")
    except NoTestSplitError:
        return False
    except DataError:
        return True  # there is one, and whoever measures with it is told what is wrong
    return True


__all__ = [
    "DATASETS",
    "UNKNOWN",
    "DataConfig",
    "DataError",
    "Format",
    "LabelledImages",
    "Loader",
    "NoTestSplitError",
    "Split",
    "TrainingData",
    "draw_labels",
    "load",
    "load_labelled",
]
