"""Photographs of any size, for super-resolution and inpainting: each batch is random squares of them.

Laid out as an image folder (see `training.data.imagefolder`); labels are passed over.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.pixels import from_uint8
from training.data.config import DataConfig, Split
from training.data.contract import mirrored
from training.data.errors import DataError
from training.data.imagefolder import choose, list_pictures, open_source
from training.data.pictures import BrokenPictureError, decode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photos:
    """One split. An item is a photo, or a smaller copy of one, of which every batch shows another part."""

    photos: tuple[Tensor, ...]  # uint8 (C, H, W), sizes differ
    names: tuple[str, ...]
    side: int  # of the squares, px
    items: tuple[int, ...]  # index of each item's photo
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def pictures(self) -> int:
        """Photos, without their smaller copies."""
        return len(set(self.names))

    def decides(self) -> dict[str, int]:
        """Resolution and channels."""
        return {"resolution": self.side, "channels": self.photos[0].shape[0]}

    def on(self, device: torch.device) -> Self:
        """The same, on a device."""
        return replace(self, photos=tuple(photo.to(device) for photo in self.photos))

    def batch(self, rows: Tensor, *, mirror: bool) -> tuple[Tensor, ...]:
        """Squares (B, C, side, side) in [-1, 1], one of each photo; with `mirror` also turned and flipped at random."""
        pieces = []
        for photo in (self.photos[self.items[i]] for i in rows.tolist()):
            _, height, width = photo.shape
            top = int(torch.randint(height - self.side + 1, ()))
            left = int(torch.randint(width - self.side + 1, ()))
            piece = photo[:, top : top + self.side, left : left + self.side]
            pieces.append(torch.rot90(piece, int(torch.randint(4, ())), (1, 2)) if mirror else piece)
        squares = from_uint8(torch.stack(pieces)).contiguous(memory_format=torch.channels_last)
        return mirrored(squares) if mirror else (squares,)

    def sha256(self) -> str:
        """Of each photo's shape and pixels."""
        digest = hashlib.sha256()
        for photo in self.photos:
            digest.update(np.asarray(photo.shape, dtype="<i8").data)
            digest.update(np.ascontiguousarray(photo.numpy()).data)
        return digest.hexdigest()


def load(config: DataConfig, split: Split) -> Photos:
    """Reads one split of a folder or zip; for training also what lies in `config.also`, whole.

    For training a photo is as many items as squares fit into it, so that all parts of all photos are shown equally often.

    Raises DataError, which says what is wrong and what to do.
    """
    assert config.resolution is not None  # the config's own check
    separate = split == "test" and config.test_path is not None
    path = config.test_path if separate and config.test_path is not None else config.path
    sources = [(path, separate), *((folder, True) for folder in config.also if split == "train")]
    photos, names = [], []
    skipped: list[str] = []
    for folder, whole in sources:
        for name, photo in _read(Path(folder), split, config, skipped, whole=whole):
            for scale in config.scales if split == "train" else (1.0,):
                copy = photo if scale == 1 else smaller(photo, scale)
                if min(copy.shape[1:]) >= config.resolution:
                    photos.append(copy)
                    names.append(f"{Path(folder).name}/{name}")
    if not photos:
        raise DataError(f"{path} has no photo of at least {config.resolution} px. Lower data.resolution, or add some")
    fits = [(photo.shape[1] // config.resolution) * (photo.shape[2] // config.resolution) for photo in photos]
    items = [i for i, squares in enumerate(fits) for _ in range(squares if split == "train" else 1)]
    return Photos(tuple(photos), tuple(names), config.resolution, tuple(items), tuple(skipped))


def _read(path: Path, split: Split, config: DataConfig, skipped: list[str], *, whole: bool) -> Iterator[tuple[str, Tensor]]:
    """Name and pixels, uint8 (C, H, W), of each photo that is large enough; the others are told of in `skipped`."""
    with open_source(path) as root:
        source = choose(root, split, whole=whole)
        for name, _ in list_pictures(source).pictures:
            try:
                photo = torch.from_numpy(decode(source.read(name), None, config.channels or 3))
                if min(photo.shape[1:]) < (config.resolution or 0):
                    raise BrokenPictureError(
                        f"{photo.shape[2]}x{photo.shape[1]} px are too few to cut {config.resolution} out of"
                    )
            except (BrokenPictureError, OSError) as error:
                skipped.append(f"{name}: {error}")
                log.warning("left out %s: %s", name, error)
                continue
            yield name, photo


def smaller(photo: Tensor, scale: float) -> Tensor:
    """uint8 (C, H, W) → (C, scale · H, scale · W), bicubic with antialiasing."""
    made = F.interpolate(photo[None].float(), scale_factor=scale, mode="bicubic", antialias=True, align_corners=False)
    return made[0].round_().clamp_(0, 255).to(torch.uint8)
