"""The `[data]` table of a run's config."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Format = Literal["idx", "imagefolder", "hub", "photos"]
Split = Literal["train", "test"]


class DataConfig(BaseModel):
    """Where a data set is and what its pictures are brought to. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)  # as the model's card calls it
    format: Format
    path: Path | str  # idx: a folder; imagefolder: a folder or a .zip; hub: a name on the hub, or a local data set's folder
    test_path: Path | str | None = None  # imagefolder, hub: where the test split is, if it isn't inside `path`
    labels: tuple[str, ...] | None = None  # idx: the names of labels 0, 1, …; other formats carry their own
    # height and width, px; None: as they are, which must be all equal. Of photos: the square that is cut out at random
    resolution: int | None = Field(None, ge=4, le=1024)
    channels: Literal[1, 3] | None = None  # grey or RGB; None: as they are, which must be all equal
    holdout: float = Field(0.1, ge=0, le=0.5)  # of each class, kept for measuring where there is no test split; 0: nothing is
    mirror: bool = False  # horizontal flips while training; never for digits or writing
    source: str
    licence: str

    @model_validator(mode="after")
    def _fits_format(self) -> Self:
        if self.format == "photos" and self.resolution is None:
            raise ValueError("photos need a `resolution`: the side, px, of the squares that are cut out of them")
        if self.format == "idx" and self.test_path is not None:
            raise ValueError("`test_path` is not for IDX data: the t10k files lie beside the train files")
        if self.format != "idx" and self.labels is not None:
            raise ValueError(f"`labels` is for IDX data only: {self.format} data carries its own label names")
        return self
