"""From an order for a picture to the tiles that a network takes, and from its answers back to one picture.

Plain functions of arrays, for helper threads.
"""

from dataclasses import dataclass

from app.engine.catalog import Served
from app.engine.errors import InvalidRequestError, TooLargeError
from app.engine.fitting import Picture, as_channels, letterboxed, resized, shrunk_into
from app.engine.orders import TranslateOrder
from app.engine.tiles import TilePlan, lay, padded
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
