"""Pairs of pictures that lie on each other, for pix2pix: one is given, the other is wanted.

Layouts, each in split folders as of an image folder (see `training.data.imagefolder`): one file for a pair, A in its left half
and B in its right, as pix2pix has it; or two folders `A/` and `B/`, in which the pictures of a pair have the same name up to
the suffix. A `metadata.csv` may list the files (of two folders: those of A, of B, or both); labels are passed over.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.pixels import from_uint8
from training.data.config import DataConfig, Split
from training.data.contract import mirrored
from training.data.errors import DataError
from training.data.imagefolder import METADATA, Source, choose, list_pictures, open_source
from training.data.pictures import BrokenPictureError, Pixels, decode, fit

log = logging.getLogger(__name__)

SIDES = ("A", "B")


@dataclass(frozen=True)
class Pairs:
    """One split. Both pictures of a pair have the same height and width, S px: `resolution` and what the crops may move by."""

    given: Tensor  # uint8 (N, C, S, S)
    wanted: Tensor  # uint8 (N, C, S, S)
    names: tuple[str, ...]
    resolution: int  # of a batch, px; at most S
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.given)

    @property
    def pictures(self) -> int:
        """An item each."""
        return len(self)

    def decides(self) -> dict[str, int]:
        """Resolution, the channels of what is wanted, and those of what is given."""
        return {"resolution": self.resolution, "channels": self.wanted.shape[1], "in_channels": self.given.shape[1]}

    def on(self, device: torch.device) -> Self:
        """The same, on a device."""
        return replace(self, given=self.given.to(device), wanted=self.wanted.to(device))

    def batch(self, rows: Tensor, *, mirror: bool) -> tuple[Tensor, Tensor]:
        """Pictures given and wanted, each (B, C, resolution, resolution) in [-1, 1].

        Both of a pair are cut out at the same place, which is random where they are larger, and are flipped together.
        """
        corners = random_corners(rows, self.given.shape[2] - self.resolution)
        given, wanted = (cut(pictures, rows, self.resolution, corners) for pictures in (self.given, self.wanted))
        if mirror:
            given, wanted = mirrored(given, wanted)
        return given, wanted

    def sha256(self) -> str:
        """Of the pictures given, then of those wanted: so the two directions differ."""
        return hash_of((self.given, self.wanted))


def random_corners(rows: Tensor, slack: int) -> Tensor | None:
    """Where to cut each of the items (rows,): int64 (2, B), top and left from 0 to `slack`, both included; None: no choice."""
    return torch.randint(slack + 1, (2, len(rows)), device=rows.device) if slack else None


def cut(pictures: Tensor, rows: Tensor, side: int, corners: Tensor | None) -> Tensor:
    """Squares of the items `rows` (B,) of uint8 pictures (N, C, S, S) → float (B, C, side, side) in [-1, 1], channels_last.

    `corners` (2, B) are top and left of each; None: the pictures as they are.
    """
    if corners is None:
        squares = pictures[rows]
    else:
        across = torch.arange(side, device=rows.device)
        top, left = (corner[:, None] + across for corner in corners)
        # one gather for the batch; its result has the channels last already
        squares = pictures[rows[:, None, None], :, top[:, :, None], left[:, None, :]].permute(0, 3, 1, 2)
    return from_uint8(squares).contiguous(memory_format=torch.channels_last)


def hash_of(collections: Iterable[Tensor]) -> str:
    """SHA-256 of the shapes (little-endian int64) and pixels of several collections (N, C, H, W), in their order."""
    digest = hashlib.sha256()
    for pictures in collections:
        digest.update(np.asarray(pictures.shape, dtype="<i8").data)
        digest.update(np.ascontiguousarray(pictures.cpu().numpy()).data)
    return digest.hexdigest()


def load(config: DataConfig, split: Split) -> Pairs:
    """Reads one split of a folder or zip. Raises DataError, which says what is wrong and what to do.

    A pair of which a picture is missing, broken, or of other proportions than the other is left out and named in `skipped`.
    """
    assert config.resolution is not None  # the config's own check
    separate = split == "test" and config.test_path is not None
    path = config.test_path if separate and config.test_path is not None else config.path
    side = config.resolution + (config.jitter if split == "train" else 0)  # what is measured with is not cropped at random
    a, b, names = [], [], []
    with open_source(Path(path)) as root:
        source = choose(root, split, whole=separate)
        found, skipped = _find(source)
        for files in _without(found, config.skip, source):
            try:
                pictures = _read(source, files, config.channels or 3)
            except BrokenPictureError as error:
                skipped.append(str(error))
                continue
            a.append(_fit(pictures[0], side))
            b.append(_fit(pictures[1], side))
            names.append(files[0])
    for reason in skipped:
        log.warning("left out %s", reason)
    if not names:
        raise DataError(f"no pair of {source.name} could be read (left out: {skipped[0]}; {len(skipped)} in all). Mend them")
    left, right = torch.from_numpy(np.stack(a)), torch.from_numpy(np.stack(b))
    given, wanted = (left, right) if config.direction == "AtoB" else (right, left)
    return Pairs(given, wanted, tuple(names), config.resolution, tuple(skipped))


def _find(source: Source) -> tuple[list[tuple[str, ...]], list[str]]:
    """The files of each pair, which are one or two, in a fixed order; and the files that belong to none, with the reason."""
    two_folders = bool(source.children) and source.children <= set(SIDES)
    if two_folders and (absent := set(SIDES) - source.children):
        raise DataError(f"{source.name} has no folder '{absent.pop()}' beside '{min(source.children)}'. Add it: its pictures "
                        f"have the names of their partners")  # fmt: skip
    listing = list_pictures(source)
    listed = {path for path, _ in listing.pictures}
    no_row = [f"{path}: no row in {METADATA}" for path in listing.unlisted]
    if not two_folders:
        return [(path,) for path, _ in listing.pictures], no_row
    a, b = (_by_stem(source, side, (*listed, *listing.unlisted)) for side in SIDES)
    pairs: list[tuple[str, ...]] = []
    alone = []
    for stem in sorted(a.keys() | b.keys()):
        if stem not in a or stem not in b:
            here, there = ("A", "B") if stem in a else ("B", "A")
            alone.append(f"{(a if stem in a else b)[stem]}: there is no picture '{stem}' in {there}, only in {here}")
        elif listed.isdisjoint((a[stem], b[stem])):
            alone.append(f"{a[stem]}: no row in {METADATA}")
        else:
            pairs.append((a[stem], b[stem]))
    return pairs, alone


def _by_stem(source: Source, folder: str, paths: Iterable[str]) -> dict[str, str]:
    """The paths in a folder by what follows the folder's name, less the suffix."""
    stems: dict[str, str] = {}
    for path in sorted(path for path in paths if path.startswith(f"{folder}/")):
        stem = PurePosixPath(path).relative_to(folder).with_suffix("").as_posix()
        if stem in stems:
            raise DataError(f"{source.name} has both {stems[stem]} and {path}: which is the partner? Remove one of them")
        stems[stem] = path
    return stems


def _without(pairs: Sequence[tuple[str, ...]], patterns: Sequence[str], source: Source) -> list[tuple[str, ...]]:
    """The pairs of which no file has a row that one of the patterns, `column=value` or `column=*`, fits."""
    if not patterns or not pairs:
        return list(pairs)
    if METADATA not in source.files:
        raise DataError(f"{source.name} has no {METADATA}, by whose columns `skip` in [data] goes. Add one, or remove `skip`")
    reader = csv.DictReader(io.StringIO(source.read(METADATA).decode("utf-8-sig"), newline=""))  # list_pictures has checked it
    rows = {PurePosixPath(row["file_name"]).as_posix(): row for row in reader}
    unwanted: set[str] = set()
    for pattern in patterns:
        column, _, value = pattern.partition("=")
        if column not in (columns := reader.fieldnames or ()):
            raise DataError(f"{source.name}/{METADATA} has no column '{column}' for `skip`. It has: {', '.join(columns)}")
        fitting = {path for path, row in rows.items() if row[column] and value in ("*", row[column])}
        if not fitting:
            log.warning("no row of %s/%s is as %r in `skip` says", source.name, METADATA, pattern)
        unwanted |= fitting
    kept = [files for files in pairs if unwanted.isdisjoint(files)]
    log.info("left out %d of the %d pairs of %s, as `skip` says", len(pairs) - len(kept), len(pairs), source.name)
    if not kept:
        raise DataError(f"`skip` in [data] leaves none of the {len(pairs)} pairs of {source.name}. Remove some of it")
    return kept


def _read(source: Source, files: tuple[str, ...], channels: int) -> tuple[Pixels, Pixels]:
    """A and B as they are. Raises BrokenPictureError, which names the file."""
    pictures = []
    for file in files:
        try:
            pictures.append(decode(source.read(file), None, channels))
        except (BrokenPictureError, OSError) as error:
            raise BrokenPictureError(f"{file}: {error}") from error
    if len(pictures) == 1:
        width = pictures[0].shape[2]
        if width % 2:
            raise BrokenPictureError(f"{files[0]}: {width} px wide, an odd number, and its halves are two pictures")
        return pictures[0][:, :, : width // 2], pictures[0][:, :, width // 2 :]
    a, b = pictures
    (_, height_a, width_a), (_, height_b, width_b) = a.shape, b.shape
    # within one pixel, as a smaller copy of a picture is rounded to
    if abs(width_a * height_b - width_b * height_a) > max(*a.shape, *b.shape):
        sizes = f"{width_a}x{height_a} px, and {files[1]} is {width_b}x{height_b} px"
        raise BrokenPictureError(f"{files[0]}: is {sizes}, of other proportions: they don't lie on each other")
    return a, b


def _fit(pixels: Pixels, side: int) -> Pixels:
    """uint8 (C, H, W) → (C, side, side) as single pictures are brought there."""
    return fit(Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)), side)
