"""Fields that many requests share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict

from models.codes import CodeName
from models.latents import MAX_SEED

MAX_PICTURES = 256
MAX_LATENT = 1000.0  # far beyond any normal draw, and far from where float32 networks overflow

Seed = Annotated[int, Strict(), Field(ge=0, le=MAX_SEED)]
LatentNumber = Annotated[float, Strict(), Field(ge=-MAX_LATENT, le=MAX_LATENT, allow_inf_nan=False)]
Latent = Annotated[list[LatentNumber], Field(min_length=1, max_length=4096)]
LabelIndex = Annotated[int, Strict(), Field(ge=0, le=10**6)]
LabelName = Annotated[str, Strict(), Field(min_length=1, max_length=200)]
Label = LabelIndex | LabelName
ModelReference = Annotated[str, Strict(), Field(min_length=1, max_length=80)]
Resolution = Annotated[int, Strict(), Field(ge=1, le=2**16)]
CodeNumber = Annotated[float, Strict(), Field(ge=-1, le=1, allow_inf_nan=False)]
Codes = Annotated[
    dict[CodeName, Annotated[int, Strict(), Field(ge=0, le=1000)] | CodeNumber | LabelName],
    Field(max_length=64, description="for InfoGANs: what some codes are to be; a category's value, or a number from -1 to 1"),
]
Truncation = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]


class RequestBody(BaseModel):
    """Base of every request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    model: ModelReference | None = Field(None, description="`name` or `name@version`; default: the first that fits the task")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="a stable slug to program against")
    title: str
    status: int
    detail: str
    instance: str
    errors: list[dict[str, Any]] | None = Field(None, description="for `invalid-request`: where (`loc`) and what (`msg`)")
