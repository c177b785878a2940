import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from training.data import DataConfig, DataError, load

PIXELS = np.arange(12 * 4 * 5, dtype=np.uint32).reshape(12, 4, 5).astype(np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


def config(path: Path, **more: object) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "x", "format": "idx", "path": path, "source": "s", "licence": "l", "holdout": 0, **more}
    )


def images_bytes(pixels: np.ndarray = PIXELS) -> bytes:
    return struct.pack(">4I", 2051, *pixels.shape) + pixels.tobytes()


def labels_bytes(labels: np.ndarray = LABELS) -> bytes:
    return struct.pack(">2I", 2049, len(labels)) + labels.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for prefix, n in (("train", 12), ("t10k", 6)):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(images_bytes(PIXELS[:n]))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(labels_bytes(LABELS[:n]))
    return tmp_path


def test_reads_both_splits_exactly(folder: Path) -> None:
    train, test = load(config(folder, labels=("a", "b", "c")), "train"), load(config(folder), "test")
    assert train.images.shape == (12, 1, 4, 5)
    assert train.images.dtype == torch.uint8
    assert torch.equal(train.images[:, 0], torch.from_numpy(PIXELS))
    assert train.labels.tolist() == LABELS.tolist()
    assert train.label_names == ("a", "b", "c")
    assert test.label_names == ("0", "1", "2")
    assert len(test) == 6


def test_stacked_pictures_are_three_of_the_split_and_always_the_same(folder: Path) -> None:
    train, test = load(config(folder, stacked=True), "train"), load(config(folder, stacked=True), "test")
    assert train.images.shape == (128_000, 3, 4, 5) and len(test) == 10_000
    assert train.label_names == ()
    known = {picture.tobytes() for picture in PIXELS[:12]}
    drawn = [train.images[i, c].numpy().tobytes() for i in range(200) for c in range(3)]
    assert set(drawn) == known
    assert len({tuple(drawn[i : i + 3]) for i in range(0, 600, 3)}) > 150  # the three are drawn one by one
    assert torch.equal(load(config(folder, stacked=True), "train").images, train.images)
    with pytest.raises(ValidationError, match="`stacked` is for IDX data as they are"):
        config(folder, stacked=True, channels=3)


def test_gzipped_files_give_the_same_data(folder: Path) -> None:
    before = load(config(folder), "train").sha256()
    for raw in list(folder.iterdir()):
        raw.with_name(raw.name + ".gz").write_bytes(gzip.compress(raw.read_bytes()))
        raw.unlink()
    assert load(config(folder), "train").sha256() == before


def test_sha256_is_of_pixels_and_of_labels(folder: Path) -> None:
    before = load(config(folder), "train").sha256()
    (folder / "train-labels-idx1-ubyte").write_bytes(labels_bytes(LABELS[::-1]))
    relabelled = load(config(folder), "train").sha256()
    (folder / "train-labels-idx1-ubyte").write_bytes(labels_bytes())
    (folder / "train-images-idx3-ubyte").write_bytes(images_bytes(PIXELS[::-1]))
    assert len({before, relabelled, load(config(folder), "train").sha256()}) == 3


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], "train-images-idx3-ubyte is cut off: 255 bytes of 256. Download"),
        ("train-images-idx3-ubyte", lambda b: b[:10], "cut off: 10 bytes, and its header alone has 16"),
        ("train-images-idx3-ubyte", lambda b: b + b"x", "1 bytes longer than its header"),
        ("train-images-idx3-ubyte", lambda b: b"\x00\x00\x08\x01" + b[4:], "starts with 2049 where 2051 is expected"),
        ("train-labels-idx1-ubyte", lambda b: labels_bytes(LABELS[:11]), "has 11 labels for 12 pictures"),
        ("train-labels-idx1-ubyte", lambda b: b[:-2], "train-labels-idx1-ubyte is cut off"),
    ],
)
def test_damage_is_named_with_its_remedy(folder: Path, file: str, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    (folder / file).write_bytes(damage((folder / file).read_bytes()))
    with pytest.raises(DataError, match=message):
        load(config(folder), "train")


@pytest.mark.parametrize(("keep", "message"), [(0.5, "gzip stream has no end"), (0.0, "cut off")])
def test_cut_off_gzip_is_named(folder: Path, keep: float, message: str) -> None:
    raw = folder / "train-images-idx3-ubyte"
    packed = gzip.compress(raw.read_bytes())
    raw.unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(packed[: int(len(packed) * keep)])
    with pytest.raises(DataError, match=message):
        load(config(folder), "train")


def test_garbage_gzip_is_named(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz can't be read"):
        load(config(folder), "train")


def test_missing_files_and_label_names_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match="there are names for 0 to 1"):
        load(config(folder, labels=("a", "b")), "train")
    with pytest.raises(DataError, match="the class 'd' has no pictures"):
        load(config(folder, labels=("a", "b", "c", "d")), "train")
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="has no t10k-images-idx3-ubyte"):
        load(config(folder), "test")


def test_resizes_and_colours(folder: Path) -> None:
    data = load(config(folder, resolution=8, channels=3), "train")
    assert data.images.shape == (12, 3, 8, 8)
    assert torch.equal(data.images[:, 0], data.images[:, 2])


def test_options_of_other_formats_are_refused() -> None:
    with pytest.raises(ValidationError, match="test_path"):
        config(Path("x"), test_path="y")
    with pytest.raises(ValidationError, match="labels"):
        config(Path("x"), format="hub", labels=("a",))
    with pytest.raises(ValidationError, match="Extra inputs"):
        config(Path("x"), resolutoin=28)


def test_fashion_mnist(data_path: Callable[..., Path]) -> None:
    found = config(data_path("fashion-mnist"))
    train, test = load(found, "train"), load(found, "test")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 28, 28)
    assert train.labels.bincount().tolist() == [6000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    assert round(train.images.double().mean().item() / 255, 4) == 0.2860  # the published mean
    assert train.sha256().startswith("1f243a60")
