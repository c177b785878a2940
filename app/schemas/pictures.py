"""Requests that bring a picture: as JSON with base64, or as a multipart form with a file."""

import base64
import binascii
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from app.engine.fitting import Fit, Mask, Picture
from app.engine.orders import ClassifyOrder, Direction, InpaintOrder, ProjectOrder, ScoreOrder, TranslateOrder
from app.schemas.common import Label, RequestBody
from app.schemas.generation import ImageBody, ImagesBody, TimingBody
from app.seeds import random_seed
from models.latents import MAX_SEED

# the smallest picture there is: an example that works when it is pasted
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAMLCwgAAACwAAAAAAQABAAACAkQBADs="

WHITE_DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="


def bytes_of(value: Any) -> Any:
    """A file of a form as it is; text as base64, be it a data URL or only its end."""
    if not isinstance(value, str):
        return value
    head, comma, data = value.partition(",")
    if value.startswith("data:"):
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("a data URL must hold base64: data:image/png;base64,…")
    else:
        data = value
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is no base64 text, and no data URL of it") from None


ImageBytes = Annotated[
    bytes,
    BeforeValidator(bytes_of),
    Field(min_length=1, description="a JPEG, PNG, WebP, GIF, BMP or TIFF file; in JSON as base64 or data URL"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}),
]


MAX_WAYS = 16
MAX_SCORED = 64
WHITE = 128  # a mask is white from here on
Whole = Annotated[
    Literal["resize", "pad"], Field(description="how the picture is brought to the size that the model learned on")
]
OfClass = Annotated[
    Label | None, Field(description="for models with classes: name, or index; default: the class that fits best")
]


class PicturesRequest(RequestBody):
    """Base of every request that brings pictures."""

    FILES: ClassVar[tuple[str, ...]] = ("image",)  # which of its fields are files in a form
    SEVERAL: ClassVar[tuple[str, ...]] = ()  # and which may be given more than once there

    def files(self) -> dict[str, bytes]:
        """The pictures, by where they are."""
        raise NotImplementedError


class PictureRequest(PicturesRequest):
    """Base of every request that brings one picture to work on."""

    image: ImageBytes

    def files(self) -> dict[str, bytes]:
        return {"image": self.image}


class TranslateRequest(PictureRequest):
    """A picture for a translation model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": DOT, "direction": "AtoB"}]})

    direction: Direction = Field("AtoB", description="`BtoA` where the model translates both ways")
    fit: Fit = Field(
        "resize",
        description="how the picture is brought to the size that the model learned on: `resize`; `pad`, which keeps "
        "proportions; or `tile`: not at all, piece by piece. The answer always has the picture's own size",
    )

    def order(self, picture: Picture) -> TranslateOrder:
        """As the engine takes it."""
        return TranslateOrder(self.model, picture, self.direction, self.fit)


class UpscaleRequest(PictureRequest):
    """A picture to enlarge."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": DOT, "fidelity": 0.5}]})

    fidelity: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="1: true to the picture, 0: sharp with invented details; default: as the model was published",
    )

    def order(self, picture: Picture) -> TranslateOrder:
        """As the engine takes it."""
        return TranslateOrder(self.model, picture, fit="tile", fidelity=self.fidelity)


class InpaintRequest(PictureRequest):
    """A picture with a hole to be filled."""

    FILES: ClassVar[tuple[str, ...]] = ("image", "mask")
    model_config = ConfigDict(json_schema_extra={"examples": [{"image": DOT, "mask": WHITE_DOT, "n": 4, "seed": 7}]})

    mask: ImageBytes = Field(description="a picture of the same size: white is filled, black stays")
    n: int = Field(1, ge=1, le=MAX_WAYS, description="so many ways to fill it")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="of the first; the i-th has seed + i. Default: a random one")
    label: OfClass = None
    fit: Whole = "resize"

    @field_validator("seed")
    @classmethod
    def _last_seed_exists(cls, seed: int | None) -> int | None:
        if seed is not None and seed > MAX_SEED - MAX_WAYS:
            raise ValueError(f"at most {MAX_SEED - MAX_WAYS}: the i-th picture has seed + i")
        return seed

    def files(self) -> dict[str, bytes]:
        return {"image": self.image, "mask": self.mask}

    def order(self, picture: Picture, hole: Mask) -> InpaintOrder:
        """As the engine takes it."""
        seed = random_seed(self.n) if self.seed is None else self.seed
        return InpaintOrder(self.model, picture, hole, self.n, seed, self.label, self.fit)


class ProjectRequest(PictureRequest):
    """A picture to find again among those that a model can make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": DOT}]})

    label: OfClass = None
    fit: Whole = "resize"

    def order(self, picture: Picture) -> ProjectOrder:
        """As the engine takes it."""
        return ProjectOrder(self.model, picture, self.label, self.fit)


class DiscriminateRequest(PicturesRequest):
    """Pictures for a discriminator to judge."""

    SEVERAL: ClassVar[tuple[str, ...]] = ("image", "label")
    model_config = ConfigDict(json_schema_extra={"examples": [{"image": DOT}]})

    image: ImageBytes | Annotated[list[ImageBytes], Field(min_length=1, max_length=MAX_SCORED)]
    label: Label | Annotated[list[Label], Field(min_length=1, max_length=MAX_SCORED)] | None = Field(
        None, description="for models with classes: what the picture is to be judged as; one for all, or one a picture"
    )

    def files(self) -> dict[str, bytes]:
        return (
            {"image": self.image}
            if isinstance(self.image, bytes)
            else {f"image.{i}": data for i, data in enumerate(self.image)}
        )

    def order(self, pictures: list[Picture]) -> ScoreOrder:
        """As the engine takes it."""
        labels = self.label if isinstance(self.label, list) or self.label is None else [self.label] * len(pictures)
        return ScoreOrder(self.model, pictures, labels)


class ClassifyRequest(PictureRequest):
    """A picture for a classifier to read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": DOT}]})

    def order(self, picture: Picture) -> ClassifyOrder:
        """As the engine takes it."""
        return ClassifyOrder(self.model, picture)


class FilledBody(ImagesBody):
    """Ways to fill a hole."""

    disagreement: ImageBody | None = Field(
        description="of several: how far apart they are at each pixel, grey, in steps of 8 bits"
    )


class ProjectedBody(BaseModel):
    """The latent of the nearest picture that a model can make."""

    model: str
    version: int
    created: int
    z: list[float] = Field(description="for `z` and `keyframes` of the generation endpoints")
    distance: float = Field(
        description="root of the mean squared difference at the model's resolution, of a range from 0 (black) to 1 (white)"
    )
    label: int | None
    label_name: str | None
    image: ImageBody = Field(description="that picture")
    timing_ms: TimingBody


class ScoresBody(BaseModel):
    """What a discriminator says, in the order of the pictures."""

    model: str
    version: int
    created: int
    scores: list[float] = Field(
        description="logits: the higher, the more like the model's data. They compare within one version of one model"
    )
    timing_ms: TimingBody


class ClassBody(BaseModel):
    """One class, and how likely a picture is to be of it."""

    label: int
    label_name: str
    probability: float = Field(ge=0, le=1)


class ClassesBody(BaseModel):
    """What a classifier takes a picture for."""

    model: str
    version: int
    created: int
    classes: list[ClassBody] = Field(description="all that the model knows, likeliest first; the probabilities sum to 1")
    timing_ms: TimingBody
