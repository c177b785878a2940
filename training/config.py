"""A run's configuration: a typed TOML file plus `key=value` overrides. Unknown keys are refused with the nearest valid one."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from models.codes import CodeName
from models.manifest import Name
from training.data import DataConfig

SHIPPED_CONFIGS = Path(__file__).parent / "configs"
Augmentation = Literal["color", "translation", "cutout", "affine", "noise"]  # see `training.augment`
SMOOTHED = ("minimax", "non-saturating", "least-squares")  # losses that have a label for real pictures


class ConfigError(Exception):
    """A configuration that can't be used. The message says where and what would be right."""


class Section(BaseModel):
    """Base of every table of a config."""

    model_config = ConfigDict(frozen=True, extra="forbid")


GONE = (("info", "moved"), ("info", "clustering"))  # keys of earlier versions, which every config had
S = TypeVar("S", bound=Section)


class LossConfig(Section):
    """What the two networks minimise."""

    adversarial: Literal["minimax", "non-saturating", "hinge", "least-squares", "wasserstein", "relativistic"] = "relativistic"
    r1: float = Field(0.1, ge=0)  # γ of the gradient penalty on real pictures
    r2: float = Field(0.1, ge=0)  # γ of the gradient penalty on generated pictures
    adversarial_weight: float = Field(1.0, ge=0)  # in the generator's loss; with 0 there is no discriminator at work
    l1: float = Field(0.0, ge=0)  # weight of the mean distance to the target, for families that have one
    matching: float = Field(0.0, ge=0)  # weight of the distance in the discriminator's features, likewise
    cycle: float = Field(0.0, ge=0)  # weight of coming back the same, for families that translate both ways
    contrast: float = Field(0.0, ge=0)  # weight of each patch telling of its original, likewise: instead of `cycle`, or with it
    identity: float = Field(0.0, ge=0)  # weight of leaving alone what is in the wanted domain already, likewise
    diversity: float = Field(0.0, ge=0)  # weight of answering differently to different noise, for families that take any
    penalty_every: int = Field(4, ge=1)  # steps; lazy regularisation: the weight is multiplied by as much
    spectral_norm: bool = False  # on the discriminator
    clip: float = Field(0.0, ge=0)  # of `wasserstein`: the discriminator's weights stay between ± this; 0: as they are
    gradient_penalty: float = Field(0.0, ge=0)  # λ of a gradient norm of 1 between real and generated pictures (WGAN-GP)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)  # taken from the label of real pictures, and of no others

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.label_smoothing and self.adversarial not in SMOOTHED:
            raise ValueError(f"label_smoothing: `{self.adversarial}` has no label to smooth; {', '.join(SMOOTHED)} have")
        if self.clip and self.adversarial != "wasserstein":
            raise ValueError(f"clip is what bounds a `wasserstein` critic, and adversarial is `{self.adversarial}`")
        if self.clip and (self.gradient_penalty or self.spectral_norm):
            raise ValueError(
                "clip, gradient_penalty and spectral_norm are three ways to bound a critic: clip goes with no other"
            )
        if self.adversarial == "wasserstein" and not (self.clip or self.gradient_penalty or self.spectral_norm or self.r1):
            raise ValueError(
                "nothing bounds the `wasserstein` critic: take gradient_penalty=10, clip=0.01, spectral_norm or r1"
            )
        return self


class StabiliserConfig(Section):
    """Techniques against collapse and oscillation, of families with one generator and one discriminator. Off by default.

    What each does, and whose it is, stands in `training/stabilisers`.
    """

    minibatch: Literal["none", "discrimination", "deviation"] = "none"  # what the discriminator is told of a whole batch
    kernels: int = Field(16, ge=1)  # of minibatch discrimination: how many similarities are measured
    kernel_size: int = Field(8, ge=1)  # and in how many dimensions each of them
    pack: int = Field(1, ge=1)  # pictures that the discriminator judges at once (PacGAN)
    virtual_batch: int = Field(0, ge=0)  # real pictures by whose statistics it is normalised (virtual batch norm); 0: it is not
    feature_matching: float = Field(0.0, ge=0)  # weight, beside `loss.adversarial_weight`, which may be 0 then
    historical_averaging: float = Field(0.0, ge=0)  # weight of staying near the mean of one's own past, for both networks
    unrolled_steps: int = Field(0, ge=0)  # of the discriminator, which the generator looks ahead
    unrolled_rate: float = Field(1e-3, gt=0)  # of gradient descent in those steps

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.virtual_batch and self.minibatch != "none":
            raise ValueError(
                "virtual_batch and minibatch don't go together: pictures would be compared with the reference batch"
            )
        if self.virtual_batch % self.pack:
            raise ValueError(f"virtual_batch {self.virtual_batch} can't be cut into packs of {self.pack}")
        return self


class GrowthConfig(Section):
    """How a family that can grow does, by pictures seen: see `training.recipes.progressive`. Off by default."""

    images: tuple[int, ...] = ()  # of each level but the last, smallest first, which has the rest; empty: full size at once
    fade: int = Field(20_000, ge=0)  # images over which each new level fades in

    @model_validator(mode="after")
    def _leaves_time_to_fade(self) -> Self:
        if self.images and (self.images[0] < 1 or min(self.images[1:], default=self.fade) < self.fade):
            raise ValueError(f"each level but the first fades in over {self.fade} images, and needs as many at least")
        return self


class GuideConfig(Section):
    """A classifier that guides the generator: see `training.guide`. Off by default."""

    reader: Literal["own", "imagenet"] = "own"  # taught by the run's own pictures, or long ago by a million photographs
    features: float = Field(0.0, ge=0)  # weight of the discriminators on its features
    twins: float = Field(0.0, ge=0)  # weight of being no easier to read than real pictures are
    penalty: float = Field(0.3, ge=0)  # γ of the gradient penalties on features
    augment: tuple[Augmentation, ...] = ()  # what is done to pictures before they are judged by their features
    images: int = Field(180_000, ge=1)  # that the run's own classifier learns from, with repetition
    enlarge: int = Field(2, ge=1, le=8)  # times, before the ImageNet classifier, which learned from 224 px, is shown a picture


class InfoConfig(Section):
    """How InfoGAN's codes are learned, and what they are called."""

    names: tuple[CodeName, ...] = ("kind",)  # of the category, then of each continuous code
    category: float = Field(1.0, ge=0)  # weight of reading the category
    continuous: float = Field(1.0, ge=0)  # weight of reading the continuous codes
    clustered: int = Field(0, ge=0)  # real pictures in which the categories are found beforehand; 0: left to chance


class TeacherConfig(Section):
    """How a discriminator that tells classes apart learns from few labels: see `training.teacher`."""

    labelled: int = Field(32, ge=1)  # pictures with a label in each step, with repetition
    agreement: float = Field(1.0, ge=0)  # weight of reading the other pictures as the teacher does
    confidence: float = Field(0.95, ge=0, le=1)  # of the teacher, from which on it is believed
    augment: tuple[Augmentation, ...] = ("affine", "noise")  # what is done to pictures before they are read
    duel: float = Field(0.5, gt=0, le=1)  # share of each batch that is told from generated pictures


class ProofConfig(Section):
    """What is published with a model that draws from latents, to tell how good data sets drawn from it are."""

    # real pictures of each class that go into the entry; 0 where the data's licence doesn't let them
    real_train: int = Field(200, ge=0)  # to learn from
    real_test: int = Field(200, ge=0)  # of the test split, to be asked about
    curve: tuple[int, ...] = (10, 50, 200, 1000)  # real pictures of each class whose worth is measured, and all there are


class OptimizerConfig(Section):
    """How both networks descend."""

    algorithm: Literal["adam", "muon", "sgd", "rmsprop"] = "adam"
    learning_rate: float = Field(3e-4, gt=0)
    d_learning_rate: float | None = Field(None, gt=0)  # the discriminator's own, if it differs (TTUR)
    betas: tuple[float, float] = (0.0, 0.99)  # of Adam, and of what Muon leaves to it
    momentum: float = Field(0.0, ge=0, lt=1)  # of the others
    d_steps: int = Field(1, ge=1)  # of the discriminator for one of the generator: a batch is cut into as many parts
    warmup_images: int = Field(0, ge=0)
    decay_from: float = Field(0.5, ge=0, lt=1)  # fraction of the run after which the rate falls on a cosine
    final: float = Field(0.05, ge=0, le=1)  # fraction of the rate at the end

    @model_validator(mode="after")
    def _fits_algorithm(self) -> Self:
        if self.momentum and self.algorithm == "adam":
            raise ValueError("momentum is of sgd and rmsprop; Adam's is the first of `betas`")
        return self


class EmaConfig(Section):
    """The averaged generator."""

    half_life_images: float = Field(20_000, ge=0)
    ramp: float = Field(0.05, ge=0)  # the half-life is at most this fraction of the images seen


class SnapshotConfig(Section):
    """What a run leaves behind while it goes on."""

    every_images: int = Field(20_000, ge=1)  # sample sheet, curves
    log_every_steps: int = Field(48, ge=1)  # a line of stats.jsonl; a multiple of penalty_every shows the penalties
    save_every_s: float = Field(60.0, ge=0)  # the state that a killed run goes on from; doesn't change the result
    sheet_columns: int = Field(16, ge=1, le=64)
    sheet_rows: int = Field(8, ge=1, le=64)  # of unconditional models; label-conditional ones get a row for each class


class DeviceConfig(Section):
    """Where and how precisely to compute."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where the hardware has it
    threads: int | None = Field(None, ge=1)  # of one process on the CPU; the result is exact for one number of threads


class TrainConfig(Section):
    """Everything that decides what a run's weights will be."""

    name: Name
    family: str
    licence: str = "unspecified: ask whoever trained it"  # of the weights, for the model card
    description: str = ""  # for the model card
    limits: str = ""  # for the model card
    seed: int = Field(0, ge=0)
    total_images: int = Field(1_000_000, ge=1)  # real pictures shown to the discriminator, all processes together
    batch: int = Field(32, ge=1)  # all processes together
    augment: tuple[Augmentation, ...] = ()
    start: Path | None = None  # the folder of another run or of a zoo entry, whose networks this one starts from
    runs: Path = Path("runs")  # the run's folder is runs/<name>
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"  # what follows what the doctor finds
    rollbacks: int = Field(3, ge=1)  # how often at most, before the run stops
    data: DataConfig
    hparams: dict[str, Any] = {}  # of the family; resolution, channels and classes come from the data
    loss: LossConfig = LossConfig()
    stabilisers: StabiliserConfig = StabiliserConfig()
    growth: GrowthConfig = GrowthConfig()
    guide: GuideConfig = GuideConfig()
    info: InfoConfig = InfoConfig()
    teacher: TeacherConfig = TeacherConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    ema: EmaConfig = EmaConfig()
    proof: ProofConfig = ProofConfig()
    snapshots: SnapshotConfig = SnapshotConfig()
    device: DeviceConfig = DeviceConfig()


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads a TOML file and applies `dotted.key=value` overrides, whose values are TOML (a bare word is a string).

    `path` may be the name of a shipped config (`fashion`). Raises `ConfigError`.
    """
    if not path.exists() and (SHIPPED_CONFIGS / f"{path}.toml").exists():
        path = SHIPPED_CONFIGS / f"{path}.toml"
    try:
        raw = tomllib.loads(path.read_text())
    except FileNotFoundError:
        shipped = ", ".join(sorted(p.stem for p in SHIPPED_CONFIGS.glob("*.toml")))
        raise ConfigError(f"there is no file {path}; shipped configs, to be called by name: {shipped}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error
    for override in overrides:
        apply_override(raw, override)
    return parse_config(raw, str(path))


def parse_config(raw: dict[str, Any], where: str) -> TrainConfig:
    """A validated config. `where` names its origin in messages. Raises `ConfigError`."""
    return validated(TrainConfig, raw, where)


def stored_config(raw: dict[str, Any], where: str) -> TrainConfig:
    """A config from a run's folder or a manifest, which an earlier version may have written. Raises `ConfigError`."""
    kept = {
        section: {k: v for k, v in values.items() if (section, k) not in GONE} if isinstance(values, dict) else values
        for section, values in raw.items()
    }
    return parse_config(kept, where)


def validated(schema: type[S], raw: dict[str, Any], where: str) -> S:
    """Raw values as a config of this schema. `where` names their origin in messages. Raises `ConfigError`."""
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {_explain(schema, problem)}" for problem in error.errors())) from error


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets what `dotted.key=value` says in a tree of raw values. Raises `ConfigError` where it says nothing."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"'{override}' is no override; write key=value, as in total_images=200000 or loss.r1=1.0")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.split(".")
    for table in tables:
        raw = raw.setdefault(table, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"'{override}': {table} is a value and not a table")
    raw[last] = value


def _explain(schema: type[Section], problem: Any) -> str:
    """One of pydantic's errors in a sentence, with the nearest valid key for an unknown one."""
    if not problem["loc"]:
        return str(problem["msg"])
    *tables, last = problem["loc"]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] != "extra_forbidden":
        return f"{key}: {problem['msg']}"
    section: Any = schema
    for table in tables:
        section = section.model_fields[str(table)].annotation
    valid = list(section.model_fields)
    near = difflib.get_close_matches(str(last), valid, n=1, cutoff=0.5)
    hint = f"did you mean '{'.'.join([*map(str, tables), near[0]])}'?" if near else f"valid here: {', '.join(valid)}"
    return f"unknown key '{key}': {hint}"


def to_json(config: TrainConfig) -> dict[str, Any]:
    """The config as plain JSON values, as it stands in a run's folder and in a manifest."""
    dumped: dict[str, Any] = TypeAdapter(TrainConfig).dump_python(config, mode="json", exclude_defaults=False)
    return dumped
