import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from training.data import DataConfig, DataError, NoTestSplitError, load


def config(path: Path, **more: object) -> DataConfig:
    return DataConfig.model_validate(
        {"name": "x", "format": "imagefolder", "path": path, "source": "s", "licence": "l", "holdout": 0, **more}
    )


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(folder: Path, at: Path) -> Path:
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive:
        # in reverse, and with entries for folders: order must not matter
        for path in sorted(folder.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(folder))
    return at


PETS = {"dog/b.png": png(2), "cat/z.png": png(1), "dog/a.jpg": png(3), "cat/deep/y.PNG": png(4)}
JUNK = {".hidden/x.png": b"", "cat/.DS_Store": b"", "__MACOSX/cat/._z.png": b"", "dog/notes.txt": b"", "README.md": b""}


def values(data) -> list[int]:  # type: ignore[no-untyped-def]
    return data.images[:, 0, 0, 0].tolist()


@pytest.fixture(params=["folder", "zip"])
def made(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Writes files as a folder or as a zip of it."""

    def make(files: dict[str, bytes], name: str = "data") -> Path:
        folder = write(tmp_path / name, files)
        return folder if request.param == "folder" else zipped(folder, tmp_path / f"{name}.zip")

    return make


def test_class_folders_in_sorted_order(made) -> None:  # type: ignore[no-untyped-def]
    data = load(config(made({**PETS, **JUNK})), "train")
    assert data.label_names == ("cat", "dog")
    assert values(data) == [4, 1, 3, 2]
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.skipped == ()


def test_folder_and_zip_have_one_hash(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", PETS)
    assert load(config(folder), "train").sha256() == load(config(zipped(folder, tmp_path / "d.zip")), "train").sha256()


@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
@pytest.mark.parametrize("wrapper", ["", "pets-v1/"])
def test_split_folders(made, test_name: str, wrapper: str) -> None:  # type: ignore[no-untyped-def]
    files = {f"{wrapper}train/{k}": v for k, v in PETS.items()}
    path = made({**files, f"{wrapper}{test_name}/dog/q.png": png(9), f"{wrapper}{test_name}/cat/q.png": png(8)})
    assert values(load(config(path), "train")) == [4, 1, 3, 2]
    test = load(config(path), "test")
    assert values(test) == [8, 9]
    assert test.labels.tolist() == [0, 1]


def test_a_wrapping_folder_is_no_class(made) -> None:  # type: ignore[no-untyped-def]
    assert load(config(made({f"pets/{k}": v for k, v in PETS.items()})), "train").label_names == ("cat", "dog")


def test_a_class_may_be_called_train(made) -> None:  # type: ignore[no-untyped-def]
    data = load(config(made({"train/a.png": png(1), "bus/a.png": png(2)})), "train")
    assert data.label_names == ("bus", "train")


def test_a_single_class_is_a_class(made) -> None:  # type: ignore[no-untyped-def]
    assert load(config(made({"cat/a.png": png(1)})), "train").label_names == ("cat",)


def test_separate_test_path(made) -> None:  # type: ignore[no-untyped-def]
    path = made(PETS)
    with pytest.raises(NoTestSplitError, match="set `test_path`"):
        load(config(path), "test")
    test_path = made({"dog/q.png": png(9), "cat/q.png": png(8)}, "held-out")
    assert values(load(config(path, test_path=test_path), "test")) == [8, 9]
    with pytest.raises(DataError, match="class 'cow' that the train split lacks"):
        load(config(path, test_path=made({"cow/q.png": png(9), "cat/q.png": png(8)}, "other")), "test")
    with pytest.raises(DataError, match="class 'dog' has no pictures"):
        load(config(path, test_path=made({"cat/q.png": png(8)}, "less")), "test")


def test_shuffled_metadata_rows_keep_their_labels(made) -> None:  # type: ignore[no-untyped-def]
    pictures = {f"{i:02}.png": png(i) for i in range(20)}
    rows = [
        f"{i:02}.png,{'odd' if i % 2 else 'even'},a picture" for i in (7, 3, 19, 0, 12, 5, 4, 18, 1, 2, 6, 8, 9, 10, 11, 13)
    ]
    csv = "\ufefffile_name,label,text\r\n" + "\r\n".join(rows)
    data = load(config(made({**pictures, "metadata.csv": csv.encode()})), "train")
    assert data.label_names == ("even", "odd")
    assert values(data) == [*range(14), 18, 19]
    assert [value % 2 for value in values(data)] == data.labels.tolist()
    assert data.skipped == tuple(f"{i}.png: no row in metadata.csv" for i in (14, 15, 16, 17))


def test_any_column_may_tell_the_class_and_only_some_classes_be_wanted(made) -> None:  # type: ignore[no-untyped-def]
    listing = b"file_name,colour,kind\na.png,red,hat\nb.png,blue,hat\nc.png,red,shoe\nd.png,green,shoe\n"
    path = made({**{f"{name}.png": png(i) for i, name in enumerate("abcd")}, "metadata.csv": listing})
    by_colour = load(config(path, label_column="colour"), "train")
    assert (by_colour.label_names, by_colour.labels.tolist()) == (("blue", "green", "red"), [2, 0, 2, 1])
    some = load(config(path, label_column="colour", labels=("red", "blue")), "train")
    assert (some.label_names, some.labels.tolist(), values(some)) == (("red", "blue"), [0, 1, 0], [0, 1, 2])
    assert load(config(path, label_column="kind"), "train").labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match="no column `size`; it has file_name, colour, kind"):
        load(config(path, label_column="size"), "train")
    with pytest.raises(DataError, match="no class 'pink', which `labels` wants; it has blue, green, red"):
        load(config(path, label_column="colour", labels=("pink",)), "train")


def test_some_classes_of_folders(made) -> None:  # type: ignore[no-untyped-def]
    data = load(config(made(PETS), labels=("dog",)), "train")
    assert (data.label_names, data.labels.tolist(), values(data)) == (("dog",), [0, 0], [3, 2])


def test_metadata_wins_over_folders_and_may_leave_data_unlabelled(made) -> None:  # type: ignore[no-untyped-def]
    data = load(config(made({**PETS, "metadata.csv": b"file_name\ndog/b.png\ncat/z.png\n"})), "train")
    assert (data.label_names, data.labels.tolist(), values(data)) == ((), [0, 0], [1, 2])


def test_plain_pictures_are_unlabelled(made) -> None:  # type: ignore[no-untyped-def]
    data = load(config(made({"b.png": png(2), "a.png": png(1)})), "train")
    assert (data.label_names, data.labels.tolist(), values(data)) == ((), [0, 0], [1, 2])
    assert data.classes == 0


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        (b"name,label\na.png,x\n", "has no column `file_name`"),
        (b"file_name,label\na.png,x\nghost.png,y\n", "row 3: 'ghost.png' is not there"),
        (b"file_name,label\na.png,x\na.png,y\n", "row 3: 'a.png' is listed twice"),
        (b"file_name,label\na.png,\n", "row 2: 'a.png' has no label"),
        (b"file_name,label\na.png\n", "row 2: 'a.png' has no label"),
        (b"file_name,label\n../a.png,x\n", "is not there"),
        (b"file_name,label\n", "lists no pictures"),
        (b"file_name,label\na.png,\xff\n", "can't be read"),
        (b"", "has no column `file_name`"),
    ],
)
def test_bad_metadata_is_named(made, csv: bytes, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=message):
        load(config(made({"a.png": png(1), "metadata.csv": csv})), "train")


def test_empty_class_is_named(made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=r"class 'fish' of .* has no pictures"):
        load(config(made({**PETS, "fish/readme.txt": b"none yet"})), "train")
    (tmp_path / "bare" / "cow").mkdir(parents=True)
    write(tmp_path / "bare", PETS)
    with pytest.raises(DataError, match="class 'cow'"):
        load(config(tmp_path / "bare"), "train")


def test_nothing_loose_and_nothing_at_all(made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=r"'stray\.png' lies beside them"):
        load(config(made({**PETS, "stray.png": png(1)})), "train")
    with pytest.raises(DataError, match="holds no pictures"):
        load(config(made({"notes.txt": b""}, "empty")), "train")
    with pytest.raises(DataError, match="does not exist"):
        load(config(tmp_path / "nowhere"), "train")
    with pytest.raises(DataError, match=r"no \.zip file"):
        load(config(write(tmp_path / "bad", {"x.zip": b"PK nonsense"}) / "x.zip"), "train")


def test_a_broken_picture_is_left_out_with_its_label(made) -> None:  # type: ignore[no-untyped-def]
    data = load(config(made({**PETS, "cat/a.png": b"broken", "dog/aa.png": png(7)[:40]})), "train")
    assert values(data) == [4, 1, 3, 2]
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert [reason.split(":")[0] for reason in data.skipped] == ["cat/a.png", "dog/aa.png"]


def test_damaged_zip_entry_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that its bytes can be found
        archive.writestr("a.png", png(1))
        archive.writestr("b.png", png(2))
    raw = bytearray(path.read_bytes())
    raw[raw.index(png(1)) + 45] ^= 0xFF
    path.write_bytes(raw)
    data = load(config(path), "train")
    assert values(data) == [2]
    assert data.skipped[0].startswith("a.png: can't be unzipped: Bad CRC-32")


def test_zip_bomb_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.imagefolder.MAX_FILE_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", png(1))
        archive.writestr("bomb.png", bytes(10_001))
    write(tmp_path / "folder", {"a.png": png(1), "bomb.png": bytes(10_001)})
    for path in (tmp_path / "x.zip", tmp_path / "folder"):
        assert load(config(path), "train").skipped == ("bomb.png: more than 10000 bytes",)


def test_zip_is_not_unpacked(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", PETS)
    path = zipped(folder, tmp_path / "data.zip")
    shutil.rmtree(folder)
    load(config(path), "train")
    assert [p.name for p in tmp_path.iterdir()] == ["data.zip"]


def test_flower_photos(data_path: Callable[..., Path]) -> None:
    found = config(data_path("flower-photos", "train.zip"), test_path=data_path("flower-photos", "val.zip"), channels=3)
    train, test = load(found, "train"), load(found, "test")
    assert train.images.shape == (2569, 3, 64, 64)
    assert test.images.shape == (315, 3, 64, 64)
    assert train.label_names == test.label_names == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert train.labels.bincount().tolist() == [418, 643, 442, 495, 571]
    assert not train.skipped
    assert load(found, "test").sha256() == test.sha256()
