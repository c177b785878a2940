"""IDX files under MNIST's own names, gzipped or not: MNIST, Fashion-MNIST, and anything stored like them.

The format: big-endian magic 2051 (pictures: count, rows, columns) or 2049 (labels: count), then one byte a value.
http://yann.lecun.com/exdb/mnist/
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.data.config import DataConfig, Split
from training.data.errors import DataError
from training.data.labelled import LabelledImages
from training.data.pictures import fit

PREFIXES: dict[Split, str] = {"train": "train", "test": "t10k"}
# magic, dimensions
KINDS: dict[str, tuple[int, int]] = {"images": (2051, 3), "labels": (2049, 1)}
STACKS: dict[Split, tuple[int, int]] = {"train": (128_000, 0), "test": (10_000, 1)}  # how many, and the seed that chooses them
MAX_BYTES = 2**32  # of one decompressed file
DOWNLOAD_AGAIN = "Download the file again"

Kind = Literal["images", "labels"]


def load(config: DataConfig, split: Split) -> LabelledImages:
    """Reads one split of IDX data. Raises DataError, which names the file and says what to do."""
    folder = Path(config.path)
    images = _images(read_idx(find(folder, split, "images")), config)
    labels_path = find(folder, split, "labels")
    labels = read_idx(labels_path).to(torch.int64)
    if len(images) != len(labels):
        raise DataError(f"{labels_path.name} has {len(labels)} labels for {len(images)} pictures. "
                        f"Use two files of the same split")  # fmt: skip
    if not len(images):
        raise DataError(f"{folder.name} has no pictures in its {split} split. {DOWNLOAD_AGAIN}")
    names = config.labels
    if names is None:
        # of the train split whichever is read, so that both have the same classes
        known = labels if split == "train" else read_idx(find(folder, "train", "labels")).to(torch.int64)
        names = tuple(map(str, range(int(known.max()) + 1)))
    if int(labels.max()) >= len(names):
        raise DataError(f"{labels_path.name} has a label {int(labels.max())}, and there are names for 0 to {len(names) - 1}. "
                        f"Name every label in `labels`")  # fmt: skip
    if config.stacked:
        return stacked(images, split)
    missing = set(range(len(names))) - set(labels.tolist())
    if missing:
        raise DataError(f"the class '{names[min(missing)]}' has no pictures in {labels_path.name}. Remove it from `labels`")
    return LabelledImages(images, labels, names)


def stacked(grey: Tensor, split: Split) -> LabelledImages:
    """Stacked MNIST (Metz et al. 2016, https://arxiv.org/abs/1611.02163): three random pictures (N, 1, H, W) are one in colour.

    The same ones every time, as many as PacGAN takes for training.
    """
    count, seed = STACKS[split]
    rows = torch.randint(len(grey), (count, 3), generator=torch.Generator().manual_seed(seed))
    return LabelledImages(grey[:, 0][rows], torch.zeros(count, dtype=torch.int64), ())


def find(folder: Path, split: Split, kind: Kind) -> Path:
    """The file of a split, raw or gzipped, with a dash or (as some archives have it) a dot before `idx`."""
    stem, dimensions = f"{PREFIXES[split]}-{kind}", KINDS[kind][1]
    names = [f"{stem}{dash}idx{dimensions}-ubyte{suffix}" for suffix in ("", ".gz") for dash in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {names[0]} (nor {names[2]}). Point `path` in [data] at the folder with the IDX files")


def read_idx(path: Path) -> Tensor:
    """One IDX file → uint8 (N, rows, columns) or (N,). Raises DataError for a wrong magic number or length."""
    magic, dimensions = KINDS["images" if "-images" in path.name else "labels"]
    data = _read(path)
    header = 4 * (1 + dimensions)
    if len(data) < header:
        raise DataError(f"{path.name} is cut off: {len(data)} bytes, and its header alone has {header}. {DOWNLOAD_AGAIN}")
    found, *shape = struct.unpack(f">{1 + dimensions}I", data[:header])
    if found != magic:
        raise DataError(f"{path.name} starts with {found} where {magic} is expected: it is no such IDX file. {DOWNLOAD_AGAIN}")
    expected = header + math.prod(shape)
    if len(data) < expected:
        raise DataError(f"{path.name} is cut off: {len(data)} bytes of {expected}. {DOWNLOAD_AGAIN}")
    if len(data) > expected:
        raise DataError(f"{path.name} is {len(data) - expected} bytes longer than its header says. {DOWNLOAD_AGAIN}")
    return torch.from_numpy(np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape).copy())


def _read(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except EOFError as error:
        raise DataError(f"{path.name} is cut off: its gzip stream has no end. {DOWNLOAD_AGAIN}") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{path.name} can't be read: {error}. {DOWNLOAD_AGAIN}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path.name} holds more than {MAX_BYTES} bytes. Split it")
    return data


def _images(grey: Tensor, config: DataConfig) -> Tensor:
    """uint8 (N, H, W) → (N, C, H, W) at the config's resolution and channels."""
    if config.resolution is not None and len(grey) and tuple(grey.shape[1:]) != (config.resolution, config.resolution):
        resized = [fit(Image.fromarray(picture), config.resolution) for picture in grey.numpy()]
        images = torch.from_numpy(np.stack(resized))
    else:
        images = grey[:, None]
    return images.repeat(1, 3, 1, 1) if config.channels == 3 else images
