"""Pictures in class folders, or listed by a `metadata.csv`; in a folder, or in a .zip that is read where it lies.

Layouts: `<class>/x.jpg`; `metadata.csv` with `file_name` and, for labelled data, `label` (as Hugging Face's `imagefolder`
has it) or another column that `label_column` names; plain pictures (unlabelled). Each of them may lie in `train/` and `test/`
(or `val/`) folders, or in one wrapping folder. Hidden files and `__MACOSX` are ignored, as is everything that has no picture's
suffix.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from training.data.config import DataConfig, Split
from training.data.errors import DataError, NoTestSplitError
from training.data.labelled import LabelledImages
from training.data.pictures import MAX_FILE_BYTES, SUFFIXES, BrokenPictureError, Item, collect

METADATA, LABEL = "metadata.csv", "label"  # and its column that tells a picture's class, unless another is named
SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "val", "validation", "valid")}
SPLIT_NAMES = frozenset(name for names in SPLITS.values() for name in names)


@dataclass(frozen=True)
class Source:
    """What lies below a root: posix paths relative to it, sorted, and a way to read a file by its path."""

    name: str
    files: tuple[str, ...]
    folders: tuple[str, ...]  # at every depth, empty ones too
    read: Callable[[str], bytes]  # raises OSError or BrokenPictureError

    @property
    def children(self) -> frozenset[str]:
        """Names of the folders directly below the root."""
        return frozenset(folder.split("/")[0] for folder in self.folders)

    def below(self, folder: str) -> "Source":
        """The same, seen from one of its folders."""
        start, read = f"{folder}/", self.read

        def inside(paths: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(path.removeprefix(start) for path in paths if path.startswith(start))

        return Source(f"{self.name}/{folder}", inside(self.files), inside(self.folders), lambda path: read(start + path))


@dataclass(frozen=True)
class Listing:
    """The pictures of one split in a fixed order, and the label's name of each (None: the data are unlabelled)."""

    pictures: tuple[tuple[str, str | None], ...]
    classes: tuple[str, ...]  # sorted
    unlisted: tuple[str, ...] = ()  # pictures that the metadata does not mention


def load(config: DataConfig, split: Split) -> LabelledImages:
    """Reads one split of an image folder or zip. Raises DataError, which says what is wrong and what to do."""
    train_path = Path(config.path)
    separate = split == "test" and config.test_path is not None
    with open_source(train_path) as root:
        train = choose(root, "train")
        classes = config.labels or list_pictures(train, config.label_column).classes
        if not separate:
            return _read(train if split == "train" else choose(root, "test"), classes, config)
    assert config.test_path is not None  # for mypy: `separate` says so
    with open_source(Path(config.test_path)) as root:
        return _read(choose(root, "test", whole=True), classes, config)


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Lists a folder or a .zip, without decompressing anything. Raises DataError where it is neither."""
    if path.is_dir():
        entries = [(p.relative_to(path).as_posix(), p.is_dir()) for p in path.rglob("*")]
        yield _unwrap(_source(path.name, entries, partial(_read_file, path)))
        return
    if not path.is_file():
        raise DataError(f"{path} does not exist. Point `path` in [data] at a folder of pictures or at a .zip of them")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name} is no .zip file, or is damaged ({error}). Copy or download it again") from error
    with archive:
        entries = [(info.filename.rstrip("/"), info.is_dir()) for info in archive.infolist()]
        yield _unwrap(_source(path.name, entries, partial(_read_zipped, archive)))


def _source(name: str, entries: Iterable[tuple[str, bool]], read: Callable[[str], bytes]) -> Source:
    """Sorted (so that order does not depend on the file system), without what is hidden."""
    files: set[str] = set()
    folders: set[str] = set()
    for path, is_folder in entries:
        pure = PurePosixPath(path)
        if any(part.startswith(".") or part == "__MACOSX" for part in pure.parts):
            continue
        (folders if is_folder else files).add(path)
        folders.update(parent.as_posix() for parent in pure.parents if parent.name)  # zips needn't list them
    return Source(name, tuple(sorted(files)), tuple(sorted(folders)), read)


def _read_file(root: Path, path: str) -> bytes:
    if (root / path).stat().st_size > MAX_FILE_BYTES:
        raise BrokenPictureError(f"more than {MAX_FILE_BYTES} bytes")
    return (root / path).read_bytes()


def _read_zipped(archive: zipfile.ZipFile, path: str) -> bytes:
    try:
        with archive.open(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)  # the directory's sizes may lie: bound what comes out
    # RuntimeError: encrypted; NotImplementedError: a compression that Python lacks
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise BrokenPictureError(f"can't be unzipped: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise BrokenPictureError(f"more than {MAX_FILE_BYTES} bytes")
    return data


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def _unwrap(source: Source) -> Source:
    """Steps into a single folder that merely wraps the class or split folders, as archives often have."""
    top = {path for path in source.files if "/" not in path and (_is_picture(path) or path == METADATA)}
    if top or len(source.children) != 1:
        return source
    inner = source.below(next(iter(source.children)))
    return inner if inner.children or METADATA in inner.files else source


def choose(source: Source, split: Split, *, whole: bool = False) -> Source:
    """The part of a source that holds a split; all of it where it has no split folders and `split` is "train" or `whole`.

    "train" can also be the name of a class (beside "bus" and "car"): split folders are those that stand alone.
    """
    children = source.children
    if children and children <= SPLIT_NAMES and METADATA not in source.files and (whole or "train" in children):
        for name in SPLITS[split]:
            if name in children:
                return source.below(name)
    elif split == "train" or whole:
        return source
    raise NoTestSplitError(f"{source.name} has no test split. Put one beside `train/` as `test/`, or set `test_path` in [data]")


def list_pictures(source: Source, column: str = LABEL) -> Listing:
    """Finds every picture and its class. Raises DataError for an empty class, for no pictures, for metadata that disagree.

    `column`: of a `metadata.csv`, what tells the class.
    """
    if METADATA in source.files:
        return _from_metadata(source, column)
    pictures = tuple(path for path in source.files if _is_picture(path))
    if not pictures:
        raise DataError(f"{source.name} holds no pictures. Supported are: {', '.join(sorted(SUFFIXES))}")
    if not source.children:
        return Listing(tuple((path, None) for path in pictures), ())
    loose = [path for path in pictures if "/" not in path]
    if loose:
        raise DataError(f"{source.name} has class folders, and '{loose[0]}' lies beside them. Move it into a class's folder")
    filled = {path.split("/")[0] for path in pictures}
    if empty := sorted(source.children - filled):
        raise DataError(f"the class '{empty[0]}' of {source.name} has no pictures. Add some to it, or remove the folder")
    return Listing(tuple((path, path.split("/")[0]) for path in pictures), tuple(sorted(filled)))


def _from_metadata(source: Source, column: str) -> Listing:
    where = f"{source.name}/{METADATA}"
    try:
        text = source.read(METADATA).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = reader.fieldnames or ()
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error, BrokenPictureError) as error:
        raise DataError(f"{where} can't be read: {error}. Save it as CSV in UTF-8") from error
    if "file_name" not in columns:
        raise DataError(f"{where} has no column `file_name`. Add it: the path of each picture, relative to {METADATA}")
    if column not in columns and column != LABEL:
        raise DataError(f"{where} has no column `{column}`; it has {', '.join(columns)}. Set `label_column` to one of them")
    present = set(source.files)
    labels: dict[str, str | None] = {}
    for number, row in enumerate(rows, start=2):
        path = PurePosixPath(row["file_name"] or "").as_posix()
        if path not in present:
            raise DataError(f"{where}, row {number}: '{path}' is not there. Remove the row, or add the picture")
        if path in labels:
            raise DataError(f"{where}, row {number}: '{path}' is listed twice. Keep one of the rows")
        labels[path] = row[column] if column in columns else None
        if column in columns and not labels[path]:
            raise DataError(f"{where}, row {number}: '{path}' has no label. Give it one, or remove the row")
    if not labels:
        raise DataError(f"{where} lists no pictures. Add a row for each, or remove the file to go by folders")
    # sorted by path: the order of the rows must not change the order of the data, nor its hash
    listed = tuple(sorted(labels.items()))
    unlisted = tuple(path for path in source.files if _is_picture(path) and path not in labels)
    return Listing(listed, tuple(sorted({label for label in labels.values() if label})), unlisted)


def _of_classes(listing: Listing, wanted: tuple[str, ...], source: Source) -> Listing:
    """Only the pictures of those classes. Raises DataError for a class without any."""
    if missing := [name for name in wanted if name not in listing.classes]:
        there = f"it has {', '.join(listing.classes)}" if listing.classes else "its pictures have no classes"
        raise DataError(f"{source.name} has no class '{missing[0]}', which `labels` wants; {there}")
    return Listing(tuple(p for p in listing.pictures if p[1] in wanted), wanted, listing.unlisted)


def _read(source: Source, classes: tuple[str, ...], config: DataConfig) -> LabelledImages:
    """Decodes a split, with the train split's label indices whichever split it is."""
    listing = list_pictures(source, config.label_column)
    if config.labels is not None:
        listing = _of_classes(listing, config.labels, source)
    index = {name: i for i, name in enumerate(classes)}
    if unknown := [name for name in listing.classes if name not in index]:
        raise DataError(f"{source.name} has a class '{unknown[0]}' that the train split lacks. Remove it, or add it to both")
    if classes and not listing.classes:
        raise DataError(f"{source.name} has no labels, and the train split has. Give it class folders or a `label` column")
    items = (
        Item(path, index[label] if label is not None else 0, partial(source.read, path)) for path, label in listing.pictures
    )
    unlisted = (f"{path}: no row in {METADATA}" for path in listing.unlisted)
    return collect(items, classes, resolution=config.resolution, channels=config.channels, skipped=unlisted)
