"""The `[data]` table of a run's config."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Format = Literal["idx", "imagefolder", "hub", "photos", "pairs", "unpaired"]
Direction = Literal["AtoB", "BtoA"]
Split = Literal["train", "test"]

ONLY_FOR: dict[str, tuple[Format, ...]] = {
    "direction": ("pairs",),
    "skip": ("pairs",),
    "jitter": ("pairs", "unpaired"),
    "scales": ("photos",),
    "also": ("photos",),
}


class DataConfig(BaseModel):
    """Where a data set is and what its pictures are brought to. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)  # as the model's card calls it
    format: Format
    path: Path | str  # idx: a folder; hub: a name on the hub, or a local data set's folder; others: a folder or a .zip
    test_path: Path | str | None = None  # all but idx: where the test split is, if it isn't inside `path`
    # idx: the names of labels 0, 1, …; imagefolder: the classes that are wanted, in this order, of all that there are
    labels: tuple[str, ...] | None = None
    label_column: str = "label"  # imagefolder: the column of metadata.csv that tells a picture's class
    stacked: bool = False  # idx: each picture is three random ones of the split, one a channel, without a label (Stacked MNIST)
    # height and width, px; None: as they are, which must be all equal. Of photos: the square that is cut out at random
    resolution: int | None = Field(None, ge=4, le=1024)
    channels: Literal[1, 3] | None = None  # grey or RGB; None: as they are, which must be all equal
    holdout: float = Field(0.1, ge=0, le=0.5)  # of each class, kept for measuring where there is no test split; 0: nothing is
    mirror: bool = False  # horizontal flips while training; never for digits or writing
    direction: Direction = "AtoB"  # pairs: which picture is given, and which is wanted
    jitter: int = Field(0, ge=0)  # pairs, unpaired: px by which pictures are kept larger than the crops that training is shown
    # single pictures: an .npy file of labels for the training split, in the place of its own; -1 leaves a picture out
    relabel: Path | None = None
    # single pictures: of the training split, so many of each class keep their labels; the others' become -1, unknown
    labelled_per_class: int | None = Field(None, ge=1)
    label_seed: int = Field(0, ge=0)  # decides which
    skip: tuple[str, ...] = ()  # pairs: rows of metadata.csv to leave out, as `column=value`, or `column=*` for any value
    # photos: copies of each, this much smaller, are shown too. What a camera or JPEG blurred is sharp in a smaller copy
    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1, max_length=8)
    also: tuple[Path | str, ...] = ()  # photos: more folders or .zips of them, to learn from and not to measure on
    benchmarks: tuple[str, ...] = ()  # photos: folders of other data, with HR/ and LR_bicubic_x4/, to measure on as well
    source: str
    licence: str

    @property
    def with_all_labels(self) -> Self:
        """The same with every label known: to measure with, and never to train on."""
        return self.model_copy(update={"labelled_per_class": None})

    @model_validator(mode="after")
    def _fits_format(self) -> Self:
        if self.format == "photos" and self.resolution is None:
            raise ValueError("photos need a `resolution`: the side, px, of the squares that are cut out of them")
        if self.format in ("pairs", "unpaired") and self.resolution is None:
            raise ValueError(f"{self.format} data need a `resolution`: the side, px, that all pictures are brought to")
        if self.format == "idx" and self.test_path is not None:
            raise ValueError("`test_path` is not for IDX data: the t10k files lie beside the train files")
        if self.format not in ("idx", "imagefolder") and self.labels is not None:
            raise ValueError(f"`labels` is for IDX data and image folders: {self.format} data carries its own label names")
        if self.stacked and (self.format != "idx" or self.channels):
            raise ValueError("`stacked` is for IDX data as they are: three grey pictures make one in colour")
        for key, formats in ONLY_FOR.items():
            # against the defaults, and not by which keys were set: a config that was written out sets all of them
            if self.format not in formats and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"`{key}` is for {' and '.join(formats)} only, and the format is {self.format}")
        of_labels = {"relabel": self.relabel, "labelled_per_class": self.labelled_per_class}
        asked = [key for key, value in of_labels.items() if value is not None]
        if asked and (self.format in ("pairs", "unpaired", "photos") or self.stacked):
            what = "stacked" if self.stacked else self.format
            raise ValueError(f"`{asked[0]}` is for labelled pictures, and {what} data have no labels")
        for pattern in self.skip:
            column, _, value = pattern.partition("=")
            if not column or not value:
                raise ValueError(f'`skip` has \'{pattern}\', which is no `column=value`, as in "group=flags" or "group=*"')
        return self
