"""Picture files → uint8 tensors, whatever they hold. Files are untrusted: sizes are bounded before anything is decoded."""

import io
import logging
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from training.data.errors import DataError
from training.data.labelled import LabelledImages

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 2**26  # 8192 x 8192: far above any photograph's use here, far below what exhausts memory
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # Pillow's other readers never see a byte
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})

Pixels = npt.NDArray[np.uint8]


class BrokenPictureError(Exception):
    """One picture that can't be used; the text says why."""


@dataclass(frozen=True)
class Item:
    """A picture that has been found and not been read yet."""

    name: str
    label: int
    read: Callable[[], bytes]  # may raise OSError or BrokenPictureError


def decode(data: bytes, resolution: int | None, channels: int | None) -> Pixels:
    """One encoded picture → uint8 (C, H, W).

    Turned upright by its EXIF orientation; transparency composited over white; 16 bits rounded to 8; palette and CMYK
    to RGB. With a `resolution`: the largest centred square, then Lanczos with antialiasing. `channels` 1 is luma (ITU-R
    601), 3 repeats grey. Embedded colour profiles are not applied. Raises BrokenPictureError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # odd metadata: the pixels are what counts
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise BrokenPictureError(f"{opened.width}x{opened.height} px, and at most {MAX_PIXELS} are read")
                picture = ImageOps.exif_transpose(opened)
                picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenPictureError(f"more than {MAX_PIXELS} px") from error
    # Pillow's decoders report damage in all of these ways
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise BrokenPictureError(f"can't be decoded: {error}") from error
    return fit(_flatten(picture, channels), resolution)


def fit(picture: Image.Image, resolution: int | None) -> Pixels:
    """A picture of mode L or RGB → uint8 (C, H, W), cropped and resized to `resolution` where one is given."""
    if resolution is not None and picture.size != (resolution, resolution):
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
        picture = picture.resize((resolution, resolution), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _flatten(picture: Image.Image, channels: int | None) -> Image.Image:
    """Any mode → L or RGB, without alpha."""
    grey = picture.mode in GREY_MODES if channels is None else channels == 1
    if picture.mode == "F":
        raise BrokenPictureError("holds floating-point pixels, whose range can't be known")
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64)
        if wide.size and not 0 <= wide.min() <= wide.max() <= 65535:
            raise BrokenPictureError("holds pixels of more than 16 bits, whose range can't be known")
        # convert("L") would clip everything above 255 to white
        picture = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    elif picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    if grey and picture.mode not in ("L", "1", "RGB", "RGBA"):
        picture = picture.convert("RGB")  # palette and CMYK reach luma by way of RGB
    return picture.convert("L" if grey else "RGB")


def collect(items: Iterable[Item], label_names: tuple[str, ...], *, resolution: int | None, channels: int | None,
            skipped: Iterable[str] = ()) -> LabelledImages:  # fmt: skip
    """Reads, decodes and stacks pictures in the order given.

    A broken one is logged, named in `skipped` and left out together with its label. Raises DataError where nothing is left,
    where a class lost all its pictures, or where sizes differ and none was asked for.
    """
    pictures: list[Pixels] = []
    labels: list[int] = []
    left_out = list(skipped)
    first = ""
    for item in items:
        try:
            pixels = decode(item.read(), resolution, channels)
        except (BrokenPictureError, OSError) as error:
            left_out.append(f"{item.name}: {error}")
            continue
        if pictures and pixels.shape != pictures[0].shape:
            raise DataError(
                f"{item.name} is {_size(pixels)} and {first} is {_size(pictures[0])}. "
                f"Set `resolution` and `channels` in [data], so that all pictures are brought to one size"
            )
        first = first or item.name
        pictures.append(pixels)
        labels.append(item.label)
    for reason in left_out:
        log.warning("left out %s", reason)
    if not pictures:
        tried = f" (left out: {left_out[0]}{f' and {len(left_out) - 1} more' if len(left_out) > 1 else ''})" if left_out else ""
        raise DataError(f"no pictures could be read{tried}. Supported are: {', '.join(FORMATS)}")
    present = set(labels)
    for index, name in enumerate(label_names):
        if index not in present:
            raise DataError(f"the class '{name}' has no pictures. Add some to it, or remove the class")
    images = torch.from_numpy(np.stack(pictures))
    return LabelledImages(images, torch.tensor(labels, dtype=torch.int64), label_names, tuple(left_out))


def _size(pixels: Pixels) -> str:
    channels, height, width = pixels.shape
    return f"{width}x{height} px {'grey' if channels == 1 else 'RGB'}"
