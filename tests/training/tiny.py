"""A data set and a config that train in seconds, through the same files and commands that a user has."""

import gzip
import struct
from pathlib import Path

import torch


def write_idx(folder: Path, items: int = 200, classes: int = 3, size: int = 8) -> Path:
    """A labelled IDX data set: a bright square whose place tells its class, in noise. Train and test split are alike."""
    folder.mkdir(parents=True)
    for seed, split in enumerate(["train", "t10k"]):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(items) % classes
        images = torch.randint(0, 60, (items, size, size), generator=generator, dtype=torch.uint8)
        for image, label in zip(images, labels, strict=True):
            corner = int(label) * (size // classes)
            image[corner : corner + 3, 2:6] = 230
        with gzip.open(folder / f"{split}-images-idx3-ubyte.gz", "wb") as f:
            f.write(struct.pack(">IIII", 2051, items, size, size) + images.numpy().tobytes())
        with gzip.open(folder / f"{split}-labels-idx1-ubyte.gz", "wb") as f:
            f.write(struct.pack(">II", 2049, items) + labels.to(torch.uint8).numpy().tobytes())
    return folder


def write_config(path: Path, data: Path, runs: Path) -> Path:
    """A label-conditional run over that data with everything that draws random numbers switched on."""
    path.write_text(
        f"""
name = "tiny"
family = "conditional"
total_images = 1920
batch = 16
augment = ["color", "translation", "cutout"]
runs = "{runs}"
[data]
name = "squares"
format = "idx"
path = "{data}"
labels = ["top", "middle", "bottom"]
mirror = true
source = "drawn by this test"
licence = "CC0-1.0"
[hparams]
z_dim = 8
embed_dim = 4
widths = [16, 8]
feature_dim = 16
[loss]
penalty_every = 3
[guide]
features = 1.0
twins = 0.5
images = 640
[optimizer]
warmup_images = 160
[snapshots]
every_images = 640
log_every_steps = 12
save_every_s = 0.05
sheet_columns = 4
[device]
accelerator = "cpu"
precision = "float32"
threads = 1
"""
    )
    return path
