"""Requests that draw pictures from latents, and the JSON they are answered with."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from app.engine.orders import ArithmeticOrder, BetweenOrder, DrawOrder, InterpolateOrder, Keyframe, Method
from app.schemas.common import (
    MAX_PICTURES,
    Codes,
    Label,
    LabelName,
    Latent,
    ModelReference,
    RequestBody,
    Resolution,
    Seed,
    Truncation,
)
from app.seeds import random_seed
from models.latents import MAX_SEED


class DrawRequest(RequestBody):
    """Base of requests for pictures of seeds, or of latents."""

    n: int | None = Field(None, strict=True, ge=1, le=MAX_PICTURES, description="how many pictures (1)")
    seed: Seed | None = Field(None, description="of the first picture; the i-th has seed + i. Random if not given")
    z: list[Latent] | None = Field(
        None, min_length=1, max_length=MAX_PICTURES, description="explicit latents instead of a seed, one row a picture"
    )
    truncation: Truncation = Field(1.0, description="1: as drawn; towards 0: closer to the mean picture")
    resolution: Resolution | None = Field(
        None, description="side of the pictures, px: one of the model's; default: the largest"
    )

    @property
    def count(self) -> int:
        """How many pictures are asked for."""
        return self.n or len(self.z or ()) or 1

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.z is not None and self.seed is not None:
            raise ValueError("give either `seed` or `z`, not both")
        if self.z is not None and len(self.z) != self.count:
            raise ValueError(f"`z` has {len(self.z)} rows and `n` is {self.n}: give one row a picture")
        if (self.seed or 0) + self.count - 1 > MAX_SEED:
            raise ValueError(f"seed + n - 1 would pass {MAX_SEED}, the largest seed")
        return self

    @property
    def first_seed(self) -> int:
        """The one that was asked for, or any."""
        return random_seed(self.count) if self.seed is None else self.seed


class SampleRequest(DrawRequest):
    """Pictures of a model without classes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"n": 4, "seed": 7}]})

    codes: Codes = Field(default_factory=dict)

    def order(self) -> DrawOrder:
        """As the engine takes it."""
        return DrawOrder(
            self.model, self.count, self.first_seed, self.z, None, self.truncation, codes=self.codes, resolution=self.resolution
        )


class GenerateRequest(DrawRequest):
    """Pictures of a label-conditional model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"n": 4, "seed": 7, "label": 0}]})

    label: Label | None = Field(None, description="the class of every picture: a name (any case) or an index")
    labels: list[Label] | None = Field(None, min_length=1, max_length=MAX_PICTURES, description="one class a picture")

    @property
    def count(self) -> int:
        """How many pictures are asked for."""
        return self.n or len(self.labels or ()) or len(self.z or ()) or 1

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        if self.label is not None and self.labels is not None:
            raise ValueError("give either `label` or `labels`, not both")
        if self.labels is not None and len(self.labels) != self.count:
            raise ValueError(f"`labels` has {len(self.labels)} entries for {self.count} pictures: give one a picture")
        return self

    def order(self) -> DrawOrder:
        """As the engine takes it."""
        labels = self.labels if self.label is None else [self.label] * self.count
        return DrawOrder(self.model, self.count, self.first_seed, self.z, labels, self.truncation, resolution=self.resolution)


class ImageAddress(BaseModel):
    """One picture by its address. Numbers come as text, so they are not strict."""

    model: ModelReference = Field(examples=["fashion"])
    seed: int = Field(ge=0, le=MAX_SEED, examples=[7])
    extension: str = Field(description="`png`, `webp` or `jpg`", examples=["png"])
    label: LabelName | None = Field(None, description="name (any case) or index; default: the first class")
    truncation: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)
    resolution: int | None = Field(None, ge=1, le=2**16, description="side, px: one of the model's; default: the largest")


class KeyframeBody(BaseModel):
    """One station of an interpolation: exactly one of `seed` and `z`."""

    model_config = ConfigDict(extra="forbid")

    seed: Seed | None = None
    z: Latent | None = None
    label: Label | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.seed is None) == (self.z is None):
            raise ValueError("give exactly one of `seed` and `z`")
        return self

    def keyframe(self) -> Keyframe:
        """As the engine takes it."""
        if self.z is not None:
            return Keyframe(self.z, self.label)
        assert self.seed is not None
        return Keyframe(self.seed, self.label)


class InterpolateRequest(RequestBody):
    """A walk from picture to picture."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keyframes": [{"seed": 1}, {"seed": 2}], "steps": 8}]})

    keyframes: list[KeyframeBody] = Field(min_length=2, max_length=16, description="a label on all of them, or on none")
    steps: int = Field(16, strict=True, ge=2, le=120, description="frames from each keyframe to the next, counting the first")
    method: Method = Field("slerp", description="along the sphere, or in a straight line")
    loop: bool = Field(False, strict=True, description="go back to the first keyframe at the end")
    fps: int = Field(24, strict=True, ge=1, le=60, description="frames a second of GIF and WebP")
    truncation: Truncation = 1.0
    resolution: Resolution | None = None

    def order(self) -> InterpolateOrder:
        """As the engine takes it."""
        keyframes = [k.keyframe() for k in self.keyframes]
        return InterpolateOrder(self.model, keyframes, self.steps, self.method, self.loop, self.truncation, self.resolution)


Position = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]


class StreamFrame(RequestBody):
    """One message of a stream: exactly one of `seed`, `z` and `between`."""

    seed: Seed | None = None
    z: Latent | None = None
    between: tuple[Seed | Latent, Seed | Latent, Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]] | None = (
        None
    )
    label: Label | None = None
    truncation: Truncation = 1.0
    codes: Codes = Field(default_factory=dict)
    resolution: Resolution | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [self.seed, self.z, self.between].count(None) != 2:
            raise ValueError("give exactly one of `seed`, `z` and `between`")
        if self.codes and self.between is not None:
            raise ValueError("`codes` go with `seed` or `z`")
        return self

    def order(self) -> DrawOrder | BetweenOrder:
        """As the engine takes it."""
        if self.between is not None:
            start, end, t = self.between
            return BetweenOrder(
                self.model, Keyframe(start, self.label), Keyframe(end, self.label), t, self.truncation, self.resolution
            )
        z = None if self.z is None else [self.z]
        labels = None if self.label is None else [self.label]
        return DrawOrder(
            self.model, 1, self.seed or 0, z, labels, self.truncation, codes=self.codes, resolution=self.resolution
        )


class Term(BaseModel):
    """A weight, and the seeds whose mean latent it multiplies."""

    model_config = ConfigDict(extra="forbid")

    weight: float = Field(strict=True, ge=-100, le=100, allow_inf_nan=False)
    seeds: list[Seed] = Field(min_length=1, max_length=64)


class ArithmeticRequest(RequestBody):
    """One picture of the weighted sum of mean latents."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"terms": [{"weight": 1, "seeds": [1, 2, 3]}, {"weight": -1, "seeds": [4]}, {"weight": 1, "seeds": [5]}]}
            ]
        }
    )

    terms: list[Term] = Field(min_length=1, max_length=32)
    label: Label | None = Field(None, description="for conditional models; default: the first class")
    truncation: Truncation = 1.0
    resolution: Resolution | None = None

    def order(self) -> ArithmeticOrder:
        """As the engine takes it."""
        return ArithmeticOrder(
            self.model, [(t.weight, t.seeds) for t in self.terms], self.label, self.truncation, self.resolution
        )


class ImageBody(BaseModel):
    """One picture of a JSON answer."""

    b64: str = Field(description="the PNG, in base64")
    media_type: str
    seed: int | None = Field(description="null where no single seed made it")
    label: int | None
    label_name: str | None
    width: int
    height: int


class TimingBody(BaseModel):
    """Where the time went, ms."""

    queue: float
    inference: float
    encode: float


class ImagesBody(BaseModel):
    """Pictures, as JSON."""

    model: str
    version: int
    created: int = Field(description="Unix time, s")
    images: list[ImageBody]
    timing_ms: TimingBody
