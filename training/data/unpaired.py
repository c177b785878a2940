"""Two collections of pictures that have no partners in each other, for CycleGAN.

Laid out as `trainA/ trainB/ testA/ testB/`, as CycleGAN has it, or `train/A train/B test/A test/B`. Each collection is an image
folder (see `training.data.imagefolder`); labels are passed over.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from training.data.config import DataConfig, Split
from training.data.contract import mirrored
from training.data.errors import DataError, NoTestSplitError
from training.data.imagefolder import METADATA, SPLITS, Source, choose, list_pictures, open_source
from training.data.pairs import SIDES, cut, hash_of, random_corners
from training.data.pictures import BrokenPictureError, decode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unpaired:
    """One split. An item is a picture of the longer collection, beside which every batch shows another of the shorter one."""

    a: Tensor  # uint8 (N, C, S, S); S is `resolution` and what the crops may move by
    b: Tensor  # uint8 (M, C, S, S)
    names_a: tuple[str, ...]
    names_b: tuple[str, ...]
    resolution: int  # of a batch, px; at most S
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    @property
    def pictures(self) -> int:
        """Of both collections."""
        return len(self.a) + len(self.b)

    def decides(self) -> dict[str, int]:
        """Resolution and channels, which both collections share."""
        return {"resolution": self.resolution, "channels": self.a.shape[1]}

    def on(self, device: torch.device) -> Self:
        """The same, on a device."""
        return replace(self, a=self.a.to(device), b=self.b.to(device))

    def batch(self, rows: Tensor, *, mirror: bool) -> tuple[Tensor, Tensor]:
        """Pictures of A and of B, each (B, C, resolution, resolution) in [-1, 1], cut out and flipped independently.

        `rows` are of the longer collection (of A, if they are equally long); those of the other one are drawn at random.
        """
        others = torch.randint(min(len(self.a), len(self.b)), rows.shape, device=rows.device)
        of_a, of_b = (rows, others) if len(self.a) >= len(self.b) else (others, rows)
        a, b = self._some(self.a, of_a, mirror=mirror), self._some(self.b, of_b, mirror=mirror)
        return a, b

    def _some(self, pictures: Tensor, rows: Tensor, *, mirror: bool) -> Tensor:
        squares = cut(pictures, rows, self.resolution, random_corners(rows, pictures.shape[2] - self.resolution))
        return mirrored(squares)[0] if mirror else squares

    def sha256(self) -> str:
        """Of the pictures of A, then of those of B."""
        return hash_of((self.a, self.b))


def load(config: DataConfig, split: Split) -> Unpaired:
    """Reads one split of a folder or zip. Raises DataError, which says what is wrong and what to do."""
    assert config.resolution is not None  # the config's own check
    separate = split == "test" and config.test_path is not None
    path = config.test_path if separate and config.test_path is not None else config.path
    side = config.resolution + (config.jitter if split == "train" else 0)  # what is measured with is not cropped at random
    with open_source(Path(path)) as root:
        sides = _sides(root, split, whole=separate)
        (a, names_a, skipped_a), (b, names_b, skipped_b) = (_read(source, side, config.channels or 3) for source in sides)
    return Unpaired(a, b, names_a, names_b, config.resolution, (*skipped_a, *skipped_b))


def _sides(root: Source, split: Split, *, whole: bool) -> tuple[Source, Source]:
    """The two collections of a split."""
    joined = next((name for name in SPLITS[split] if any(f"{name}{side}" in root.children for side in SIDES)), "")
    if not joined and split == "test" and any(f"train{side}" in root.children for side in SIDES):
        raise NoTestSplitError(f"{root.name} has no test split. Put `testA/` and `testB/` beside `trainA/` and `trainB/`, or "
                               f"set `test_path` in [data]")  # fmt: skip
    parent = root if joined else choose(root, split, whole=whole)
    folders = [f"{joined}{side}" for side in SIDES]
    if absent := [folder for folder in folders if folder not in parent.children]:
        raise DataError(f"{parent.name} has no folder '{absent[0]}'. Unpaired data lie in trainA/ and trainB/, testA/ and "
                        f"testB/, or in folders A/ and B/ of train/ and test/: rename yours")  # fmt: skip
    a, b = (parent.below(folder) for folder in folders)
    return a, b


def _read(source: Source, side: int, channels: int) -> tuple[Tensor, tuple[str, ...], list[str]]:
    """A collection's pictures, uint8 (N, channels, side, side), their names, and what was left out, with the reason."""
    listing = list_pictures(source)
    pictures, names = [], []
    skipped = [f"{source.name}/{name}: no row in {METADATA}" for name in listing.unlisted]
    for name, _ in listing.pictures:
        try:
            pictures.append(decode(source.read(name), side, channels))
        except (BrokenPictureError, OSError) as error:
            skipped.append(f"{source.name}/{name}: {error}")
            continue
        names.append(name)
    for reason in skipped:
        log.warning("left out %s", reason)
    if not pictures:
        raise DataError(f"no picture of {source.name} could be read (left out: {skipped[0]}; {len(skipped)} in all). Mend them")
    return torch.from_numpy(np.stack(pictures)), tuple(names), skipped
