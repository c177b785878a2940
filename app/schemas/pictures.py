"""Requests that bring a picture: as JSON with base64, or as a multipart form with a file."""

import base64
import binascii
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.engine.orders import Direction, Fit, TranslateOrder
from app.engine.tiles import Picture
from app.schemas.common import RequestBody

# the smallest picture there is: an example that works when it is pasted
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAMLCwgAAACwAAAAAAQABAAACAkQBADs="


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


class PictureRequest(RequestBody):
    """Base of every request that brings a picture."""

    image: ImageBytes


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
