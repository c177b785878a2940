import io
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.data import DataConfig, DataError, NoTestSplitError, load

datasets = pytest.importorskip("datasets", reason="the 'hub' extra is not installed")


def config(path: Path | str, **more: object) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "pets", "format": "hub", "path": path, "source": "s", "licence": "l", "holdout": 0, **more}
    )


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError("tests don't use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def picture(value: int, kind: str = "PNG") -> dict[str, Any]:
    file = io.BytesIO()
    Image.fromarray(np.full((5, 4), value, np.uint8)).save(file, kind)
    return {"bytes": file.getvalue(), "path": None}


def table(values: list[int], labels: list[Any], label_type: Any) -> Any:
    features = datasets.Features({"image": datasets.Image(), "label": label_type, "text": datasets.Value("string")})
    columns = {"image": [picture(v) for v in values], "label": labels, "text": ["x"] * len(values)}
    return datasets.Dataset.from_dict(columns, features=features)


CLASSES = datasets.ClassLabel(names=["dog", "cat"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    parts = {"train": table([1, 2, 3], [0, 1, 0], CLASSES), "test": table([8, 9], [1, 0], CLASSES)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_both_splits_with_class_labels(saved: Path) -> None:
    train, test = load(config(saved), "train"), load(config(saved), "test")
    assert train.images.shape == (3, 1, 5, 4)
    assert train.images[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert train.labels.tolist() == [0, 1, 0]
    assert train.label_names == test.label_names == ("dog", "cat")
    assert (test.images[:, 0, 0, 0].tolist(), test.labels.tolist()) == ([8, 9], [1, 0])
    assert load(config(saved, resolution=8, channels=3), "train").images.shape == (3, 3, 8, 8)


def test_a_split_on_its_own_is_renumbered(saved: Path, tmp_path: Path) -> None:
    table([7, 9], [1, 0], datasets.ClassLabel(names=["cat", "dog"])).save_to_disk(tmp_path / "held-out")
    test = load(config(saved, test_path=tmp_path / "held-out"), "test")
    assert test.label_names == ("dog", "cat")
    assert test.labels.tolist() == [0, 1]  # 7 is a dog, 9 is a cat
    table([7], [0], datasets.ClassLabel(names=["cow"])).save_to_disk(tmp_path / "other")
    with pytest.raises(DataError, match="class 'cow'"):
        load(config(saved, test_path=tmp_path / "other"), "test")


def test_text_labels_and_a_lone_split(tmp_path: Path) -> None:
    table([1, 2], ["b", "a"], datasets.Value("string")).save_to_disk(tmp_path / "lone")
    data = load(config(tmp_path / "lone"), "train")
    assert (data.label_names, data.labels.tolist()) == (("a", "b"), [1, 0])
    with pytest.raises(NoTestSplitError, match="Set `test_path`"):
        load(config(tmp_path / "lone"), "test")


def test_a_missing_label_and_a_broken_picture(tmp_path: Path) -> None:
    table([1, 2], [0, -1], CLASSES).save_to_disk(tmp_path / "unlabelled")
    with pytest.raises(DataError, match="row 1 of pets has no label"):
        load(config(tmp_path / "unlabelled"), "train")
    rows = table([1, 2, 3], [0, 0, 1], CLASSES).to_dict()
    rows["image"][1] = {"bytes": b"broken", "path": None}
    features = datasets.Features({"image": datasets.Image(), "label": CLASSES, "text": datasets.Value("string")})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "broken")
    data = load(config(tmp_path / "broken"), "train")
    assert (data.images[:, 0, 0, 0].tolist(), data.labels.tolist()) == ([1, 3], [0, 1])
    assert data.skipped[0].startswith("row 1")


def test_a_local_image_folder(tmp_path: Path) -> None:
    for name, value in {"train/cat/a.png": 1, "train/dog/b.png": 2, "test/cat/c.png": 3, "test/dog/d.png": 4}.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(picture(value)["bytes"])
    train, test = load(config(tmp_path / "data"), "train"), load(config(tmp_path / "data"), "test")
    assert train.label_names == ("cat", "dog")
    assert train.images[:, 0, 0, 0].tolist() == [1, 2]
    assert test.images[:, 0, 0, 0].tolist() == [3, 4]


def test_no_pictures_and_no_such_name(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["x"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(DataError, match="no column of type Image"):
        load(config(tmp_path / "text"), "train")
    with pytest.raises(DataError, match="can't be loaded"):
        load(config("nobody/no-such-data-set"), "train")


def test_a_missing_library_says_what_to_install(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'ganymede-gan\[hub\]'"):
        load(config(saved), "train")
