"""Pictures of any size and proportions, brought to the size that a model learned on and back. Arrays in, arrays out."""

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]  # (height, width, channels)
Mask = NDArray[np.bool_]  # (height, width)
Fit = Literal["resize", "pad", "tile"]
D = TypeVar("D", bound=np.generic)


def as_channels(picture: Picture, channels: int) -> Picture:
    """RGB (H, W, 3) → what the network takes: luma (ITU-R 601) for one channel."""
    if channels == 1:
        return np.asarray(Image.fromarray(picture).convert("L"))[:, :, None]
    return picture


def resized(picture: Picture, height: int, width: int) -> Picture:
    """To another size, uint8 (height, width, C): Lanczos with antialiasing."""
    flat = picture[:, :, 0] if picture.shape[2] == 1 else picture
    made = np.asarray(Image.fromarray(flat).resize((width, height), Image.Resampling.LANCZOS))
    return made[:, :, None] if made.ndim == 2 else made


def shrunk_into(height: int, width: int, side: int) -> tuple[int, int]:
    """The largest height and width of the same proportions that fit into a square."""
    longer = max(height, width)
    return max(1, round(height * side / longer)), max(1, round(width * side / longer))


def letterboxed(picture: Picture, side: int) -> Picture:
    """Resized to fit into a square, whose rest is its mirror image."""
    height, width = shrunk_into(picture.shape[0], picture.shape[1], side)
    return squared(resized(picture, height, width), side)


def squared(picture: NDArray[D], side: int) -> NDArray[D]:
    """(H, W, …) with its right and lower edges mirrored outwards until it is a square."""
    height, width = picture.shape[:2]
    return np.pad(picture, [(0, side - height), (0, side - width), (0, 0)][: picture.ndim], mode="symmetric")


def resized_around(picture: Picture, hole: Mask, height: int, width: int) -> tuple[Picture, Mask]:
    """Picture and hole to another size. What is in the hole has no share in what is left outside it."""
    if picture.shape[:2] == (height, width):
        return picture, hole
    size = (width, height)
    known = Image.fromarray(np.where(hole, np.float32(0), np.float32(1)))
    kept = np.asarray(known.resize(size, Image.Resampling.LANCZOS))
    planes = [
        np.asarray(Image.fromarray(np.where(hole, np.float32(0), picture[:, :, c])).resize(size, Image.Resampling.LANCZOS))
        for c in range(picture.shape[2])
    ]
    unknown = np.asarray(known.resize(size, Image.Resampling.BOX)) < 1 - 1e-6
    pixels = np.stack(planes, axis=2) / np.maximum(kept, 0.1)[:, :, None]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), unknown
