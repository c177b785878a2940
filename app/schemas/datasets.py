"""Requests for data sets, and what is told of them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.datasets.records import Job
from app.datasets.spec import DatasetOrder, Filter, FormatName
from app.schemas.common import ModelReference, RequestBody, Seed, Truncation

SplitName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,19}$")]
Count = Annotated[int, Field(strict=True, ge=0)]


class FilterRequest(BaseModel):
    """Which pictures are drawn again, until as many as were asked for are left."""

    model_config = ConfigDict(extra="forbid")

    min_confidence: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = Field(
        None, description="how sure a classifier of the real pictures has to be of the class that was asked for"
    )
    max_confidence: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="how sure it may be at most: pictures above teach little"
    )
    max_similarity: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="to the nearest training picture; 1: a copy. The model's card and the report tell what is usual"
    )

    @model_validator(mode="after")
    def _leaves_a_band(self) -> Self:
        if self.min_confidence is not None and self.max_confidence is not None and self.min_confidence > self.max_confidence:
            raise ValueError("min_confidence is above max_confidence: no picture could pass")
        return self


class DatasetRequest(RequestBody):
    """How many pictures of which classes."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "fashion", "per_class": 10, "format": "parquet", "seed": 7}]}
    )

    model: ModelReference | None = Field(
        None, description="`name` or `name@version`; default: the first that draws from latents"
    )
    name: str | None = Field(None, min_length=1, max_length=200, description="for you to know it by")
    counts: dict[str, Count] | None = Field(
        None, min_length=1, description="pictures of each class, by name or index; others: none"
    )
    per_class: Count | None = Field(None, description="pictures of every class; of models without classes: in all")
    seed: Seed | None = Field(None, description="of the first picture; the i-th has seed + i. Default: a random one")
    truncation: Truncation = 1.0
    format: FormatName = "imagefolder"
    shard_size: int = Field(10_000, strict=True, ge=1, le=100_000, description="pictures in one file")
    filter: FilterRequest = FilterRequest()
    measure_usefulness: bool = Field(
        False,
        strict=True,
        description="train classifiers on it, and ask them about the real pictures that came with the model, before it ends",
    )
    webhook: str | None = Field(
        None, min_length=1, max_length=2000, description="URL that is told of the end, if GANYMEDE_WEBHOOK_HOSTS allows it"
    )
    split: dict[SplitName, Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]] = Field(
        {"train": 1.0}, min_length=1, max_length=10, description="shares that add up to 1"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.counts is None) == (self.per_class is None):
            raise ValueError("give either `counts` or `per_class`")
        if abs(sum(self.split.values()) - 1) > 1e-6:
            raise ValueError("the shares of `split` must add up to 1")
        return self

    def order(self) -> DatasetOrder:
        """As the data sets take it."""
        return DatasetOrder(**{**dict(self), "filter": Filter(**dict(self.filter))})


class FileBody(BaseModel):
    """A finished file."""

    name: str
    bytes: int
    sha256: str


class DatasetBody(BaseModel):
    """A job as it stands."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str | None
    created: int = Field(description="Unix time, s")
    model: str
    version: int
    seed: int
    format: FormatName
    status: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
    stage: str | None = Field(description="what is being done when all pictures are there")
    done: int = Field(description="pictures")
    total: int
    images_per_second: float
    eta_seconds: float | None = Field(description="null before it can be told, and after the end")
    files: list[FileBody] = Field(description="those that are finished")
    report: dict[str, Any] | None = Field(description="what the data set says of itself, once it is finished")
    error: str | None = Field(description="why it failed, or why it pauses")


class DatasetList(BaseModel):
    """All jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[DatasetBody]


def body_of_job(job: Job) -> DatasetBody:
    """What is told of a job."""
    left = job.total - job.done
    eta = left / job.rate if job.status == "running" and job.rate > 0 else None
    return DatasetBody(
        id=job.id, name=job.name, created=int(job.created), model=job.spec.model, version=job.spec.version, seed=job.spec.seed,
        format=job.spec.format, status=job.status, stage=job.stage, done=job.done, total=job.total,
        images_per_second=round(job.rate, 2),
        eta_seconds=None if eta is None else round(eta, 1),
        files=[FileBody(name=f.name, bytes=f.bytes, sha256=f.sha256) for f in job.files], report=job.report, error=job.error,
    )  # fmt: skip
