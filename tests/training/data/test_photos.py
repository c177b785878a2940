"""Photographs of any size, cut into squares."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from training.data import DataConfig, DataError, load
from training.data.photos import Photos


def config(path: Path, **changes: object) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "p", "format": "photos", "path": path, "resolution": 8, "source": "a test", "licence": "CC0-1.0"} | changes
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Gradients: red grows with x, green with y."""
    for split, sizes in {"train": [(20, 9), (8, 30), (5, 40)], "val": [(16, 16)]}.items():
        (tmp_path / split).mkdir()
        for i, (width, height) in enumerate(sizes):
            picture = Image.new("RGB", (width, height))
            picture.putdata([(x * 5, y * 5, 0) for y in range(height) for x in range(width)])
            picture.save(tmp_path / split / f"{i}.png")
    return tmp_path


def test_a_batch_is_squares_of_the_photos_in_range(folder: Path) -> None:
    data = load(config(folder), "train")
    assert isinstance(data, Photos) and len(data.photos) == 2
    assert len(data.skipped) == 1 and "2.png" in data.skipped[0] and "5x40" in data.skipped[0]
    (squares,) = data.batch(torch.tensor([0, 2, 3]), mirror=False)
    assert squares.shape == (3, 3, 8, 8) and -1 <= squares.min() <= squares.max() <= 1
    red, green = ((squares[:, c] + 1) * 127.5 / 5 for c in (0, 1))
    assert torch.allclose(red.diff(dim=2), torch.ones(3, 8, 7), atol=1e-4)  # cut out, and not resized
    assert torch.allclose(green.diff(dim=1), torch.ones(3, 7, 8), atol=1e-4)


def test_squares_are_elsewhere_each_time_and_the_same_for_the_same_step(folder: Path) -> None:
    data = load(config(folder), "train")
    rows = torch.zeros(16, dtype=torch.int64)
    torch.manual_seed(1)
    first, second = data.batch(rows, mirror=True)[0], data.batch(rows, mirror=True)[0]
    torch.manual_seed(1)
    assert torch.equal(data.batch(rows, mirror=True)[0], first)
    assert not torch.equal(first, second)
    assert len({tuple(square.flatten().tolist()) for square in first}) > 8


def test_smaller_copies_are_shown_too(folder: Path) -> None:
    data = load(config(folder, scales=[1.0, 0.5], resolution=4), "train")
    assert isinstance(data, Photos)
    assert [tuple(photo.shape[1:]) for photo in data.photos] == [(9, 20), (4, 10), (30, 8), (15, 4), (40, 5)]
    assert torch.allclose(data.photos[1][0].float().diff(dim=1)[:, 2:-2], torch.full((4, 5), 10.0), atol=1)
    assert data.pictures == 3  # and not five
    assert len(load(config(folder, scales=[1.0, 0.5]), "test")) == 1
    with pytest.raises(ValueError, match="`scales` is for photos only"):
        config(folder, format="imagefolder", scales=[0.5])


def test_a_photo_is_shown_as_often_as_squares_fit_into_it(folder: Path) -> None:
    data = load(config(folder), "train")
    assert isinstance(data, Photos)
    assert data.items == (0, 0, 1, 1, 1)  # 20x9 and 8x30 px, squares of 8


def test_more_folders_are_learned_from_and_not_measured_on(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    Image.new("RGB", (8, 8), "blue").save(other / "blue.png")
    data = load(config(folder, also=[other]), "train")
    assert isinstance(data, Photos) and data.items == (0, 0, 1, 1, 1, 2) and data.photos[2][2].min() == 255
    assert len(load(config(folder, also=[other]), "test")) == 1
    assert data.sha256() != load(config(folder), "train").sha256()
    with pytest.raises(DataError, match="nowhere"):
        load(config(folder, also=["nowhere"]), "train")
    with pytest.raises(ValueError, match="`also` is for photos only"):
        config(folder, format="imagefolder", also=[other])


def test_its_hash_is_that_of_its_pixels(folder: Path) -> None:
    before = load(config(folder), "train").sha256()
    assert load(config(folder, resolution=7), "train").sha256() == before
    Image.new("RGB", (20, 9), "red").save(folder / "train" / "0.png")
    assert load(config(folder), "train").sha256() != before


def test_photos_too_small_for_a_square_are_named(folder: Path) -> None:
    assert len(load(config(folder), "test")) == 1
    with pytest.raises(DataError, match="at least 64 px"):
        load(config(folder, resolution=64), "train")
    with pytest.raises(ValueError, match="side, px, of the squares"):
        config(folder, resolution=None)
