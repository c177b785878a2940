"""`manifest.json`: what a zoo entry says about itself. Unknown keys are refused; so is a format from the future."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.codes import Code
from models.tasks import Task

FORMAT_VERSION: Literal[4] = 4  # 2: `extras`; 3: `proof`; 4: `codes`

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]  # no folder: stays in the entry


class Part(BaseModel):
    """Base of everything in a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Output(Part):
    """What the generator draws: float pictures in `range`, px."""

    kind: Literal["image"] = "image"
    channels: int = Field(ge=1, le=4)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    range: tuple[float, float] = (-1.0, 1.0)


class Attachment(Part):
    """A file beside the manifest."""

    file: FileName
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)


class Weights(Attachment):
    """A network's safetensors file."""

    file: FileName = "weights.safetensors"
    dtype: Literal["float32"] = "float32"
    parameters: int = Field(ge=1)


class Data(Part):
    """What the model was trained on."""

    name: str
    source: str
    licence: str
    items: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")  # of the decoded training split: pixels, then labels


class Training(Part):
    """How the weights came to be: enough to make them again."""

    config: dict[str, Any]  # the run's own config, as `python -m training run` takes it
    amendments: tuple[dict[str, Any], ...] = ()  # changes to that config on the way, oldest first
    start: dict[str, Any] | None = None  # the run whose networks this one started from: its name, config and images seen
    images_seen: int = Field(ge=0)
    seconds: float = Field(ge=0)  # wall clock, all sittings of the run together
    hardware: str
    torch: str
    python: str
    commit: str | None  # of the code that trained it, where it was trained from a git checkout


class Metric(Part):
    """One measured number, and what is needed to believe it."""

    value: float
    spread: float | None  # standard deviation over repetitions, where there were any
    floor: float | None  # the same measurement of real pictures against real pictures
    n: int = Field(ge=1)  # how many pictures it was measured on
    protocol: str


class Reader(Part):
    """A small network that tells the model's classes apart: see `models.classifier`, whose designs it has."""

    kind: Literal["pooled", "strided"]
    widths: tuple[int, int, int, int]
    features: int = Field(ge=1)
    weights: Weights
    accuracy: float = Field(ge=0, le=1)  # on the real test split


class RealScore(Part):
    """What classifiers make of the real test split that learned from this many real pictures of each class."""

    per_class: int = Field(ge=1)  # at most; a class that has fewer gives all
    pictures: int = Field(ge=1)
    plain: tuple[float, ...]  # accuracies, one a seed
    augmented: tuple[float, ...]  # the same with shifts, and mirrored where that changes no class


class Proof(Part):
    """What lets the service say how good a data set drawn from the model is.

    `index` finds near-copies of training pictures: see `models.copies`. Models with classes have readers: "filter" may choose
    pictures, and "judge" has no part in that. `real` are real pictures, some of the training and some of the test split.
    """

    index: Attachment
    readers: dict[Name, Reader] = {}
    real: Attachment | None = None
    real_curve: tuple[RealScore, ...] = ()
    mirror: bool = False  # whether a mirrored picture is of the same class


class Manifest(Part):
    """A zoo entry, `zoo/<name>/<version>/manifest.json`."""

    format_version: Literal[1, 2, 3, 4] = FORMAT_VERSION
    name: Name
    version: int = Field(ge=1)
    family: str
    task: Task
    hparams: dict[str, Any]
    output: Output
    labels: tuple[str, ...] = ()
    codes: tuple[Code, ...] = ()  # what the last numbers of its latents mean
    weights: Weights  # of the generator
    extras: dict[Name, Weights] = {}  # of other networks in the entry, such as the discriminator
    created: datetime
    licence: str  # of the weights
    owned_by: str = "ganymede"
    data: Data
    training: Training
    metrics: dict[str, Metric] = {}
    proof: Proof | None = None
