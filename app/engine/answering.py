"""From an order for a picture to the tiles that a network takes, and from its answers back to one picture.

Plain functions of arrays, for helper threads.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from app.engine.catalog import Served
from app.engine.errors import InvalidRequestError, TooLargeError
from app.engine.orders import TranslateOrder
from app.engine.tiles import Picture, TilePlan, lay, padded
from models.family import TranslatorHParams


@dataclass(frozen=True)
class Question:
    """An order as the network will see it, and how its answer becomes the caller's."""

    plan: TilePlan
    part: str  # which of the entry's networks is asked: "" is the generator
    scale: int
    inner: tuple[int, int]  # height and width of the answer, without what was padded
    outer: tuple[int, int]  # height and width that the caller gets


def ask(model: Served, order: TranslateOrder, *, max_pixels: int, tile_pixels: int) -> Question:
    """Raises `TooLargeError` for an answer of more than `max_pixels`, `InvalidRequestError` for what the model lacks."""
    hparams = model.hparams
    assert isinstance(hparams, TranslatorHParams)  # by its task
    part = part_of(model, order)
    height, width = order.picture.shape[:2]
    answer = (height * hparams.scale, width * hparams.scale)
    if answer[0] * answer[1] > max_pixels:
        raise TooLargeError(
            f"the answer would have {answer[1]}x{answer[0]} px, and at most {max_pixels} are made: "
            f"send at most {max_pixels // hparams.scale**2} px"
        )
    picture = as_channels(order.picture, hparams.given_channels)
    side = hparams.resolution // hparams.scale
    if order.fit == "resize":
        picture = resized(picture, side, side)
    elif order.fit == "pad":
        picture = letterboxed(picture, side)
    kept = shrunk_into(height, width, side) if order.fit == "pad" else picture.shape[:2]
    picture = padded(picture, hparams.multiple_of)
    tiling = lay(*picture.shape[:2], multiple_of=hparams.multiple_of, reach=hparams.reach, most_pixels=tile_pixels)
    return Question(TilePlan(picture, tiling), part, hparams.scale, (kept[0] * hparams.scale, kept[1] * hparams.scale), answer)


def answer(question: Question, pieces: list[Picture]) -> Picture:
    """The answers to all tiles, in order → one picture of the size that the caller gets, uint8 (H, W, C)."""
    whole = question.plan.joined(pieces, question.scale)
    whole = whole[: question.inner[0], : question.inner[1]]
    return whole if whole.shape[:2] == question.outer else resized(whole, *question.outer)


def part_of(model: Served, order: TranslateOrder) -> str:
    """Which of the entry's networks answers. Raises `InvalidRequestError`."""
    has = model.manifest.extras
    if order.direction == "BtoA":
        if "back" not in has:
            raise InvalidRequestError("direction", "this model translates from A to B only")
        return "back"
    if order.fidelity is not None and "faithful" not in has:
        raise InvalidRequestError("fidelity", "this model has no faithful weights to lie between: leave `fidelity` out")
    return ""


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
    small = resized(picture, height, width)
    return np.pad(small, ((0, side - height), (0, side - width), (0, 0)), mode="symmetric")
