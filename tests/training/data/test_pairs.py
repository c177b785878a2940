"""Pairs of pictures: how they lie on disk, and that what is cut out of both stays together."""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from training.data import DataConfig, DataError, NoTestSplitError, load
from training.data.pairs import Pairs

Maker = Callable[[Path], Path]
A, B = 0, 255  # the blue of either side


def config(path: Path, **changes: object) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "p", "format": "pairs", "path": path, "resolution": 8, "source": "a test", "licence": "CC0-1.0", "holdout": 0}
        | changes
    )


def read(path: Path, split: str = "train", **changes: object) -> Pairs:
    data = load(config(path, **changes), "train" if split == "train" else "test")
    assert isinstance(data, Pairs)
    return data


def gradient(width: int, height: int, blue: int) -> Image.Image:
    """Red is five times x, green five times y."""
    picture = Image.new("RGB", (width, height))
    picture.putdata([(x * 5, y * 5, blue) for y in range(height) for x in range(width)])
    return picture


def plain(red: int, blue: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, (red, 0, blue))


def beside(a: Image.Image, b: Image.Image) -> Image.Image:
    both = Image.new("RGB", (a.width + b.width, a.height))
    both.paste(a, (0, 0))
    both.paste(b, (a.width, 0))
    return both


def joined(folder: Path, reds: dict[str, int]) -> Path:
    """Pairs side by side, of which both have the red given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, red in reds.items():
        beside(plain(red, A), plain(red, B)).save(folder / name)
    return folder


def apart(folder: Path, reds: dict[str, int], suffix: str = ".png") -> Path:
    """The same in two folders."""
    for side, blue in (("A", A), ("B", B)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for name, red in reds.items():
            plain(red, blue).save((folder / side / name).with_suffix(suffix if side == "B" else ".png"))
    return folder


def with_metadata(folder: Path, text: str) -> Path:
    (folder / "metadata.csv").write_text(text)
    return folder


@pytest.fixture(params=["folder", "zip"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Leaves a folder as it is, or makes a zip of it."""

    def pack(folder: Path) -> Path:
        if request.param == "folder":
            return folder
        at = tmp_path / f"{folder.name}.zip"
        with zipfile.ZipFile(at, "w") as archive:
            for path in sorted(folder.rglob("*"), reverse=True):
                archive.write(path, path.relative_to(folder))
        return at

    return pack


@pytest.fixture
def gradients(tmp_path: Path) -> Path:
    """Two pairs of 12 px: where a pixel came from stands in it."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for name in ("0.png", "1.png"):
            beside(gradient(12, 12, A), gradient(12, 12, B)).save(tmp_path / split / name)
    return tmp_path


def corners(pictures: Tensor) -> list[tuple[int, int]]:
    """From where crops of gradients were cut, after a look that they were cut and not resized."""
    red, green = ((pictures[:, c] + 1) * 127.5 / 5 for c in (0, 1))
    assert torch.allclose(red.diff(dim=2), torch.ones(len(pictures), 8, 7), atol=1e-4)
    assert torch.allclose(green.diff(dim=1), torch.ones(len(pictures), 7, 8), atol=1e-4)
    return [(round(y), round(x)) for y, x in zip(green[:, 0, 0].tolist(), red[:, 0, 0].tolist(), strict=True)]


def reds(pictures: Tensor) -> list[int]:
    return pictures[:, 0, 0, 0].tolist()


def is_side(pictures: Tensor, blue: int) -> bool:
    """Whether batches or stored pictures have this blue."""
    return bool((pictures[:, 2] == (blue if pictures.dtype == torch.uint8 else blue / 127.5 - 1)).all())


@pytest.mark.parametrize("layout", [joined, apart])
@pytest.mark.parametrize("test_name", ["test", "val"])
@pytest.mark.parametrize("wrapper", ["", "facades"])
def test_both_layouts_in_split_folders(
    tmp_path: Path, packed: Maker, layout: Callable[..., Path], test_name: str, wrapper: str
) -> None:
    root = tmp_path / "data"
    layout(root / wrapper / "train", {"b.png": 20, "a.png": 10, "c.png": 30})
    layout(root / wrapper / test_name, {"q.png": 40})
    train, test = read(packed(root)), read(packed(root), "test")
    assert reds(train.given) == reds(train.wanted) == [10, 20, 30] and reds(test.given) == [40]
    assert is_side(train.given, A) and is_side(train.wanted, B)
    assert train.names == tuple(f"{'A/' if layout is apart else ''}{name}.png" for name in "abc")
    assert train.skipped == () and len(train) == 3
    assert train.decides() == {"resolution": 8, "channels": 3, "in_channels": 3}


@pytest.mark.parametrize("layout", [joined, apart])
def test_without_split_folders_all_of_it_is_for_training_and_the_test_split_may_lie_elsewhere(
    tmp_path: Path, packed: Maker, layout: Callable[..., Path]
) -> None:
    train = packed(layout(tmp_path / "one", {"a.png": 10}))
    test = packed(layout(tmp_path / "two", {"a.png": 20}))
    assert reds(read(train).given) == [10]
    with pytest.raises(NoTestSplitError, match="test_path"):
        read(train, "test")
    assert reds(read(train, "test", test_path=test).given) == [20]


def test_all_layouts_of_the_same_pictures_have_one_hash(tmp_path: Path, packed: Maker) -> None:
    pictures = {"a.png": 10, "b.png": 20}
    one, two = read(packed(joined(tmp_path / "one", pictures))), read(packed(apart(tmp_path / "two", pictures, ".bmp")))
    assert one.sha256() == two.sha256() == one.on(torch.device("cpu")).sha256()


def test_a_batch_is_what_is_given_and_what_is_wanted_in_range(gradients: Path) -> None:
    given, wanted = read(gradients).batch(torch.tensor([0, 1, 1]), mirror=False)
    for pictures in (given, wanted):
        assert pictures.shape == (3, 3, 8, 8) and pictures.dtype == torch.float32
        assert -1 <= pictures.min() <= pictures.max() <= 1
        assert pictures.is_contiguous(memory_format=torch.channels_last)
    assert is_side(given, A) and is_side(wanted, B)


def test_the_direction_says_which_side_is_given(gradients: Path) -> None:
    forth, back = read(gradients), read(gradients, direction="BtoA")
    given, wanted = back.batch(torch.tensor([0]), mirror=False)
    assert is_side(given, B) and is_side(wanted, A)
    assert torch.equal(forth.given, back.wanted) and torch.equal(forth.wanted, back.given)
    assert forth.sha256() != back.sha256()


def test_both_pictures_are_cut_out_at_the_same_place_which_is_another_for_each_item(gradients: Path) -> None:
    data = read(gradients, jitter=4)
    assert data.given.shape == (2, 3, 12, 12) and data.decides()["resolution"] == 8
    torch.manual_seed(0)
    given, wanted = data.batch(torch.zeros(400, dtype=torch.int64), mirror=False)
    assert given.shape == (400, 3, 8, 8) and given.is_contiguous(memory_format=torch.channels_last)
    places = corners(given)
    assert places == corners(wanted)
    assert set(places) == {(top, left) for top in range(5) for left in range(5)}  # every place, the last ones too
    assert is_side(given, A) and is_side(wanted, B)


def test_crops_are_of_the_items_asked_for(tmp_path: Path) -> None:
    data = read(joined(tmp_path / "x", {f"{red}.png": red for red in (10, 20, 30)}), jitter=3)
    given, wanted = data.batch(torch.tensor([2, 0, 2, 1]), mirror=True)
    for pictures in (given, wanted):
        assert ((pictures[:, 0] + 1) * 127.5).round().amax(dim=(1, 2)).tolist() == [30, 10, 30, 20]


def test_pairs_are_flipped_together(gradients: Path) -> None:
    data = read(gradients, jitter=4)
    torch.manual_seed(0)
    given, wanted = data.batch(torch.zeros(200, dtype=torch.int64), mirror=True)
    assert torch.equal(given[:, :2], wanted[:, :2])
    flipped = (given[:, 0].diff(dim=2) < 0).all(dim=(1, 2))
    assert 70 < flipped.sum() < 130
    assert not (data.batch(torch.zeros(200, dtype=torch.int64), mirror=False)[0][:, 0].diff(dim=2) < 0).any()


def test_the_same_seed_gives_the_same_batch(gradients: Path) -> None:
    data, rows = read(gradients, jitter=4), torch.arange(2).repeat(8)
    torch.manual_seed(1)
    first, second = data.batch(rows, mirror=True)[0], data.batch(rows, mirror=True)[0]
    torch.manual_seed(1)
    assert torch.equal(data.batch(rows, mirror=True)[0], first)
    assert not torch.equal(first, second)


def test_test_pictures_are_not_cropped_at_random(gradients: Path) -> None:
    data = read(gradients, "test", jitter=4)
    assert data.given.shape == data.wanted.shape == (2, 3, 8, 8)
    first, second = (data.batch(torch.tensor([0]), mirror=False)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_halves_that_are_no_squares_are_cropped_in_the_middle(tmp_path: Path) -> None:
    beside(gradient(20, 8, A), gradient(20, 8, B)).save(tmp_path / "wide.png")
    data = read(tmp_path)
    assert data.given[0, 0, 0].tolist() == data.wanted[0, 0, 0].tolist() == [5 * x for x in range(6, 14)]


def test_halves_are_resized_each_on_its_own(tmp_path: Path) -> None:
    beside(plain(0, 0, (32, 32)), plain(255, 255, (32, 32))).save(tmp_path / "x.png")
    data = read(tmp_path)
    assert data.given.max() == 0 and data.wanted[:, [0, 2]].min() == 255  # neither bleeds into the other


def test_grey_pairs(tmp_path: Path) -> None:
    data = read(joined(tmp_path, {"a.png": 10}), channels=1)
    assert data.decides() == {"resolution": 8, "channels": 1, "in_channels": 1}
    assert [t.shape for t in data.batch(torch.tensor([0]), mirror=True)] == [(1, 1, 8, 8)] * 2


@pytest.mark.parametrize("blue", [A, B])
def test_its_hash_is_that_of_the_pixels_of_both_sides(tmp_path: Path, blue: int) -> None:
    before = read(apart(tmp_path, {"a.png": 10, "b.png": 20})).sha256()
    assert read(tmp_path).sha256() == before
    plain(11, blue).save(tmp_path / ("A" if blue == A else "B") / "a.png")
    assert read(tmp_path).sha256() != before


def test_pictures_without_a_partner_are_left_out_and_named(tmp_path: Path) -> None:
    apart(tmp_path, {"a.png": 10, "b.png": 20, "c.png": 30})
    (tmp_path / "B" / "a.png").unlink()
    (tmp_path / "A" / "c.png").unlink()
    data = read(tmp_path)
    assert data.names == ("A/b.png",)
    assert data.skipped == (
        "A/a.png: there is no picture 'a' in B, only in A",
        "B/c.png: there is no picture 'c' in A, only in B",
    )
    (tmp_path / "A" / "b.png").unlink()
    with pytest.raises(DataError, match=r"no pair .* could be read .*'a' in B, only in A; 3 in all"):
        read(tmp_path)


def test_a_folder_without_its_partner_is_refused(tmp_path: Path) -> None:
    apart(tmp_path / "train", {"a.png": 10})
    (tmp_path / "train" / "B").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no folder 'B' beside 'A'"):
        read(tmp_path / "train")


def test_two_possible_partners_are_refused(tmp_path: Path) -> None:
    apart(tmp_path, {"a.png": 10})
    plain(10, A).save(tmp_path / "A" / "a.bmp")
    with pytest.raises(DataError, match=r"both A/a.bmp and A/a.png"):
        read(tmp_path)


def test_odd_widths_are_refused(tmp_path: Path) -> None:
    joined(tmp_path, {"a.png": 10})
    Image.new("RGB", (17, 8)).save(tmp_path / "odd.png")
    data = read(tmp_path)
    assert data.names == ("a.png",) and data.skipped == ("odd.png: 17 px wide, an odd number, and its halves are two pictures",)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"no pair .*odd\.png: 17 px wide"):
        read(tmp_path)


def test_partners_may_differ_in_size_and_not_in_proportions(tmp_path: Path) -> None:
    apart(tmp_path, {"a.png": 10, "b.png": 20, "c.png": 30})
    plain(20, B, (16, 16)).save(tmp_path / "B" / "b.png")
    plain(30, A, (481, 321)).save(tmp_path / "A" / "c.png")
    plain(30, B, (120, 80)).save(tmp_path / "B" / "c.png")  # as near as whole pixels can be
    assert len(read(tmp_path)) == 3
    plain(20, B, (16, 8)).save(tmp_path / "B" / "b.png")
    data = read(tmp_path)
    assert data.names == ("A/a.png", "A/c.png")
    assert data.skipped == ("A/b.png: is 8x8 px, and B/b.png is 16x8 px, of other proportions: they don't lie on each other",)


def test_a_broken_picture_is_left_out_with_its_partner(tmp_path: Path) -> None:
    apart(tmp_path, {"a.png": 10, "b.png": 20})
    (tmp_path / "B" / "a.png").write_bytes(b"no picture")
    data = read(tmp_path)
    assert reds(data.given) == reds(data.wanted) == [20]
    assert len(data.skipped) == 1 and data.skipped[0].startswith("B/a.png: can't be decoded")


def test_metadata_lists_the_pairs(tmp_path: Path, packed: Maker) -> None:
    folder = with_metadata(joined(tmp_path / "x", {"a.png": 10, "b.png": 20}), "file_name,label\nb.png,dog\n")
    data = read(packed(folder))
    assert data.names == ("b.png",) and data.skipped == ("a.png: no row in metadata.csv",)


def test_metadata_of_two_folders_may_list_one_of_them(tmp_path: Path) -> None:
    folder = apart(tmp_path, {"a.png": 10, "b.png": 20, "c.png": 30})
    with_metadata(folder, "file_name,group\nA/a.png,x\nB/b.png,y\n")
    data = read(folder)
    assert data.names == ("A/a.png", "A/b.png") and data.skipped == ("A/c.png: no row in metadata.csv",)
    assert read(folder, skip=["group=y"]).names == ("A/a.png",)


EMOJI = "file_name,group,skintone\na.png,faces,\nb.png,flags,\nc.png,people,3\nd.png,people,4\n"


@pytest.fixture
def emoji(tmp_path: Path, packed: Maker) -> Path:
    return packed(with_metadata(joined(tmp_path / "emoji", dict.fromkeys(["a.png", "b.png", "c.png", "d.png"], 1)), EMOJI))


@pytest.mark.parametrize(
    ("skip", "left"),
    [
        ([], "abcd"),
        (["group=flags"], "acd"),
        (["skintone=*"], "ab"),
        (["skintone=3"], "abd"),
        (["group=flags", "skintone=*"], "a"),
        (["group=flag"], "abcd"),
    ],
)
def test_rows_are_left_out_by_their_columns(emoji: Path, skip: list[str], left: str) -> None:
    data = read(emoji, skip=skip)
    assert [name[0] for name in data.names] == list(left)
    assert data.skipped == ()  # what was asked for is nothing that went wrong


def test_what_is_left_out_is_counted_in_the_log(emoji: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    read(emoji, skip=["skintone=*", "group=flags"])
    assert [(r.levelname, r.getMessage().partition(" pairs of")[0]) for r in caplog.records] == [
        ("INFO", "left out 3 of the 4")
    ]
    caplog.clear()
    read(emoji, skip=["group=flag"])  # perhaps misspelt
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"] and "group=flag" in caplog.text


def test_a_pattern_that_cannot_be_followed_is_refused(emoji: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'colour' for `skip`\. It has: file_name, group, skintone"):
        read(emoji, skip=["colour=red"])
    with pytest.raises(DataError, match="leaves none of the 4 pairs"):
        read(emoji, skip=["file_name=*"])
    with pytest.raises(DataError, match=r"has no metadata\.csv"):
        read(joined(tmp_path / "plain", {"a.png": 1}), skip=["group=flags"])


@pytest.mark.parametrize("pattern", ["flags", "=flags", "group="])
def test_a_pattern_is_a_column_and_a_value(pattern: str) -> None:
    with pytest.raises(ValueError, match="which is no `column=value`"):
        config(Path("x"), skip=[pattern])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"resolution": None}, "pairs data need a `resolution`"),
        ({"direction": "both"}, "'AtoB' or 'BtoA'"),
        ({"jitter": -1}, "greater than or equal to 0"),
        ({"format": "photos", "direction": "BtoA"}, "`direction` is for pairs only"),
        ({"format": "unpaired", "direction": "BtoA"}, "`direction` is for pairs only"),
        ({"format": "unpaired", "skip": ["group=flags"]}, "`skip` is for pairs only"),
        ({"format": "imagefolder", "jitter": 4}, "`jitter` is for pairs and unpaired only"),
    ],
)
def test_keys_that_do_not_fit_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        config(Path("x"), **changes)


def test_a_config_that_was_written_out_is_read_again() -> None:
    photos = config(Path("x"), format="photos")
    assert DataConfig.model_validate(photos.model_dump(mode="json")) == photos.model_copy(update={"path": "x"})


def test_the_facades_are_read(data_path: Callable[..., Path]) -> None:
    data = read(data_path("facades"), "test", resolution=64, direction="BtoA", jitter=6)
    given, wanted = data.batch(torch.arange(40), mirror=False)
    assert len(data) == 40 and data.skipped == () and given.shape == wanted.shape == (40, 3, 64, 64)
    # label maps are mostly plain: neighbours differ less often than in photographs
    busy_given, busy_wanted = ((x.diff(dim=3).abs() > 0.1).float().mean() for x in (given, wanted))
    assert busy_given < busy_wanted


def test_the_emoji_are_read(data_path: Callable[..., Path]) -> None:
    paths = {"path": data_path("openmoji", "train.zip"), "test_path": data_path("openmoji", "val.zip")}
    every = load(config(**paths, resolution=64), "test")
    some = read(**paths, split="test", resolution=64, skip=["group=flags", "skintone=*"])
    assert len(every) == 302 and 50 < len(some) < 200 and some.skipped == ()
    outline, coloured = some.batch(torch.arange(len(some)), mirror=False)
    assert outline.std(dim=1).max() < 0.05 < coloured.std(dim=1).mean()  # black and white become colour
