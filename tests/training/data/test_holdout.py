"""Data without a test split: a part of each class is held out, and never trained on."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from training.data import DataConfig, DataError, NoTestSplitError, load


def folder(root: Path, **classes: int) -> Path:
    """Pictures of one grey each, all different."""
    grey = iter(range(256))
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), next(grey)).save(root / name / f"{i:03}.png")
    return root


def config(path: Path, **more: float) -> DataConfig:
    return DataConfig(name="d", format="imagefolder", path=path, source="s", licence="l", **more)


def test_a_tenth_of_each_class_is_held_out_and_nothing_is_in_both(tmp_path: Path) -> None:
    data = config(folder(tmp_path / "d", cats=40, dogs=20, owls=2))
    train, test = load(data, "train"), load(data, "test")
    assert torch.bincount(test.labels).tolist() == [4, 2, 1]
    assert torch.bincount(train.labels).tolist() == [36, 18, 1]
    greys = [set(split.images[:, 0, 0, 0].tolist()) for split in (train, test)]
    assert not greys[0] & greys[1] and len(greys[0] | greys[1]) == 62
    assert torch.equal(load(data, "test").images, test.images)  # the same ones every time


def test_data_with_a_test_split_keep_it(tmp_path: Path) -> None:
    folder(tmp_path / "d" / "train", cats=10, dogs=10)
    folder(tmp_path / "d" / "test", cats=3, dogs=3)
    data = config(tmp_path / "d")
    assert (len(load(data, "train")), len(load(data, "test"))) == (20, 6)


def test_nothing_is_held_out_where_nothing_shall_be(tmp_path: Path) -> None:
    data = config(folder(tmp_path / "d", cats=10, dogs=10), holdout=0)
    assert len(load(data, "train")) == 20
    with pytest.raises(NoTestSplitError):
        load(data, "test")


def test_a_class_too_small_to_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'dogs' has 1 picture"):
        load(config(folder(tmp_path / "d", cats=10, dogs=1)), "train")
