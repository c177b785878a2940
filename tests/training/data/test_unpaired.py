"""Two collections of pictures without partners."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from training.data import DataConfig, DataError, NoTestSplitError, load
from training.data.unpaired import Unpaired


def config(path: Path, **changes: object) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "u", "format": "unpaired", "path": path, "resolution": 8, "source": "s", "licence": "l", "holdout": 0}
        | changes
    )


def read(path: Path, split: str = "train", **changes: object) -> Unpaired:
    data = load(config(path, **changes), "train" if split == "train" else "test")
    assert isinstance(data, Unpaired)
    return data


def plain(folder: Path, reds: list[int], blue: int) -> None:
    folder.mkdir(parents=True)
    for red in reds:
        Image.new("RGB", (8, 8), (red, 0, blue)).save(folder / f"{red:03}.png")


FLAT = {"trainA": "trainA", "trainB": "trainB", "testA": "testA", "testB": "testB"}
NESTED = {"trainA": "train/A", "trainB": "train/B", "testA": "test/A", "testB": "test/B"}
NAMES = {"flat": FLAT, "nested": NESTED, "wrapped": {k: f"horses/{v}" for k, v in FLAT.items()},
         "val": {k: v.replace("test", "val") for k, v in NESTED.items()}}  # fmt: skip


def made(root: Path, folders: dict[str, str]) -> Path:
    """Three pictures of A and five of B to train on, two and one to test with."""
    for key, reds in {"trainA": [1, 2, 3], "trainB": [11, 12, 13, 14, 15], "testA": [21, 22], "testB": [31]}.items():
        plain(root / folders[key], reds, blue=0 if key.endswith("A") else 255)
    return root


def zipped(folder: Path, at: Path) -> Path:
    with zipfile.ZipFile(at, "w") as archive:
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(folder))
    return at


def reds(pictures: Tensor) -> list[int]:
    """Of stored pictures or of a batch."""
    values = pictures[:, 0, 0, 0]
    return values.tolist() if pictures.dtype == torch.uint8 else ((values + 1) * 127.5).round().int().tolist()


@pytest.fixture
def data(tmp_path: Path) -> Unpaired:
    return read(made(tmp_path / "data", FLAT))


@pytest.fixture
def gradients(tmp_path: Path) -> Path:
    """One picture of 12 px on each side: where a pixel came from stands in it."""
    for folder in FLAT:
        (tmp_path / folder).mkdir()
        picture = Image.new("RGB", (12, 12))
        picture.putdata([(x * 5, y * 5, 0) for y in range(12) for x in range(12)])
        picture.save(tmp_path / folder / "x.png")
    return tmp_path


@pytest.mark.parametrize("packing", ["folder", "zip"])
@pytest.mark.parametrize("layout", NAMES)
def test_both_layouts_in_folders_and_zips(tmp_path: Path, packing: str, layout: str) -> None:
    path = made(tmp_path / "data", NAMES[layout])
    path = path if packing == "folder" else zipped(path, tmp_path / "data.zip")
    train, test = read(path), read(path, "test")
    assert (reds(train.a), reds(train.b)) == ([1, 2, 3], [11, 12, 13, 14, 15])
    assert (reds(test.a), reds(test.b)) == ([21, 22], [31])
    assert train.names_a == ("001.png", "002.png", "003.png") and train.skipped == ()
    assert train.decides() == {"resolution": 8, "channels": 3}


def test_a_folder_of_one_split_and_the_other_elsewhere(tmp_path: Path) -> None:
    path = made(tmp_path / "data", NESTED)
    assert reds(read(path / "train").a) == [1, 2, 3]
    with pytest.raises(NoTestSplitError):
        read(path / "train", "test")
    assert reds(read(path / "train", "test", test_path=path / "test").a) == [21, 22]


def test_both_layouts_have_one_hash_which_is_that_of_the_pixels(tmp_path: Path) -> None:
    flat, nested = made(tmp_path / "flat", FLAT), made(tmp_path / "nested", NESTED)
    before = read(flat).sha256()
    assert before == read(nested).sha256() == read(zipped(flat, tmp_path / "x.zip")).on(torch.device("cpu")).sha256()
    for folder in ("trainA", "trainB"):
        now = read(flat).sha256()
        Image.new("RGB", (8, 8), "red").save(next((flat / folder).iterdir()))
        assert read(flat).sha256() != now
    assert read(nested, "test").sha256() != before


def test_an_epoch_shows_each_of_the_longer_side_once(data: Unpaired) -> None:
    assert len(data) == 5
    a, b = data.batch(torch.arange(5), mirror=False)
    assert reds(b) == [11, 12, 13, 14, 15] and set(reds(a)) <= {1, 2, 3}
    turned = Unpaired(data.b, data.a, data.names_b, data.names_a, 8)
    assert len(turned) == 5 and reds(turned.batch(torch.arange(5), mirror=False)[0]) == [11, 12, 13, 14, 15]


def test_partners_are_drawn_anew_each_time_and_all_of_them_come(data: Unpaired) -> None:
    torch.manual_seed(0)
    seen = [reds(data.batch(torch.arange(5), mirror=False)[0]) for _ in range(40)]
    assert len({tuple(partners) for partners in seen}) > 20
    for item in range(5):
        assert {partners[item] for partners in seen} == {1, 2, 3}


def test_a_batch_is_in_range_and_the_same_for_the_same_seed(gradients: Path) -> None:
    data, rows = read(gradients, jitter=4), torch.zeros(16, dtype=torch.int64)
    torch.manual_seed(1)
    first, second = data.batch(rows, mirror=True), data.batch(rows, mirror=True)
    torch.manual_seed(1)
    again = data.batch(rows, mirror=True)
    for i in range(2):
        assert torch.equal(first[i], again[i]) and not torch.equal(first[i], second[i])
        assert first[i].shape == (16, 3, 8, 8) and first[i].is_contiguous(memory_format=torch.channels_last)
        assert -1 <= first[i].min() <= first[i].max() <= 1


def test_both_sides_are_cut_out_and_flipped_independently(gradients: Path) -> None:
    data = read(gradients, jitter=4)
    assert data.a.shape == (1, 3, 12, 12) and data.decides()["resolution"] == 8
    torch.manual_seed(0)
    batch = data.batch(torch.zeros(400, dtype=torch.int64), mirror=True)
    red, green = ([((x[:, c] + 1) * 127.5 / 5).round() for x in batch] for c in (0, 1))
    flipped = []
    for side in range(2):
        assert (green[side].diff(dim=1) == 1).all() and (red[side].diff(dim=2).abs() == 1).all()  # cut out, not resized
        places = zip(green[side].amin(dim=(1, 2)).tolist(), red[side].amin(dim=(1, 2)).tolist(), strict=True)
        assert set(places) == {(top, left) for top in range(5) for left in range(5)}
        flipped.append(red[side][:, 0, 0] > red[side][:, 0, 1])
        assert 150 < flipped[side].sum() < 250
    assert 150 < (flipped[0] == flipped[1]).sum() < 250
    assert (green[0][:, 0, 0] == green[1][:, 0, 0]).float().mean() < 0.4


def test_test_pictures_are_not_cropped_at_random(gradients: Path) -> None:
    data = read(gradients, "test", jitter=4)
    assert data.a.shape == data.b.shape == (1, 3, 8, 8)


def test_pictures_of_any_size_become_squares_and_may_be_grey(tmp_path: Path) -> None:
    made(tmp_path, FLAT)
    wide = Image.new("RGB", (40, 16))
    wide.paste("white", (12, 0, 28, 16))
    wide.save(tmp_path / "trainA" / "wide.png")
    data = read(tmp_path, channels=1)
    assert data.a[-1].min() == 255  # the middle
    assert data.decides() == {"resolution": 8, "channels": 1}


def test_broken_and_unlisted_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    root = made(tmp_path / "data", FLAT)
    (root / "trainA" / "002.png").write_bytes(b"no picture")
    (root / "trainB" / "metadata.csv").write_text("file_name\n011.png\n012.png\n013.png\n014.png\n")
    data = read(root)
    assert reds(data.a) == [1, 3] and reds(data.b) == [11, 12, 13, 14]
    assert data.skipped[0].startswith("data/trainA/002.png: can't be decoded")
    assert data.skipped[1:] == ("data/trainB/015.png: no row in metadata.csv",)
    for path in (root / "trainA").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture of data/trainA could be read .*001\.png.*3 in all"):
        read(root)


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_a_side_that_is_not_there_is_named(tmp_path: Path, layout: str) -> None:
    root, names = made(tmp_path / "data", NAMES[layout]), NAMES[layout]
    (root / names["trainB"]).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=rf"no folder '{Path(names['trainB']).name}'"):
        read(root)
    with pytest.raises(DataError, match=r"no folder 'A'.*trainA/ and trainB/"):
        read(root / names["testA"])


def test_without_a_test_split_it_says_what_to_add(tmp_path: Path) -> None:
    root = made(tmp_path / "data", FLAT)
    for name in ("testA", "testB"):
        (root / name).rename(tmp_path / name)
    with pytest.raises(NoTestSplitError, match="testA/` and `testB/` beside `trainA/"):
        read(root, "test")


def test_a_resolution_is_needed() -> None:
    with pytest.raises(ValueError, match="unpaired data need a `resolution`"):
        config(Path("x"), resolution=None)


def test_horses_and_zebras_are_read(data_path: Callable[..., Path]) -> None:
    data = read(data_path("horse2zebra"), "test", resolution=32, jitter=4)
    assert (len(data.a), len(data.b), len(data)) == (120, 140, 140) and data.skipped == ()
    horses, zebras = data.batch(torch.arange(140), mirror=True)
    assert horses.shape == zebras.shape == (140, 3, 32, 32)
    colour = [x.amax(dim=1).sub(x.amin(dim=1)).mean() for x in (horses, zebras)]
    assert colour[0] > colour[1]  # horses are brown, zebras are not
