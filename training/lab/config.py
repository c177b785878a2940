"""An experiment's configuration: the tables of a training run that apply, and a few of the laboratory's own."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from training.config import EmaConfig, LossConfig, OptimizerConfig, Section, StabiliserConfig, apply_override, validated
from training.lab.distributions import TargetConfig


class LabConfig(Section):
    """Everything that decides what an experiment gives, but for its seeds."""

    target: TargetConfig = TargetConfig()
    steps: int = Field(3000, ge=1)  # of the generator
    batch: int = Field(128, ge=2)  # real points in a step of the discriminator
    z_dim: int = Field(8, ge=1)  # numbers of normal noise that a point is made from
    codes: int = Field(0, ge=0)  # and beside them one of so many one-hot codes, drawn evenly; 0: none
    waves: int = Field(0, ge=0)  # octaves of sines and cosines of a point that the discriminator comes to see beside it
    hidden: int = Field(64, ge=1)  # width of the hidden layers
    layers: int = Field(3, ge=1)  # hidden layers of the generator
    d_layers: int | None = Field(None, ge=1)  # of the discriminator, if it has another number
    activation: Literal["relu", "leaky", "tanh"] = "relu"
    samples: int = Field(10_000, ge=100)  # points that are measured at the end
    traces: int = Field(40, ge=1)  # how often a run is measured on its way
    loss: LossConfig = LossConfig(adversarial="non-saturating", r1=0, r2=0, penalty_every=1)
    stabilisers: StabiliserConfig = StabiliserConfig(kernels=5, kernel_size=3)
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, betas=(0.5, 0.99), decay_from=0.5, final=1.0)
    ema: EmaConfig = EmaConfig(half_life_images=0)  # 0: the generator as it is at the end

    @model_validator(mode="after")
    def _fits_packs(self) -> Self:
        if self.batch % self.stabilisers.pack:
            raise ValueError(f"batch {self.batch} can't be cut into packs of {self.stabilisers.pack} (stabilisers.pack)")
        return self

    def but(self, *overrides: str) -> "LabConfig":
        """The same with `dotted.key=value` overrides, whose values are TOML. Raises `ConfigError`."""
        return parse(overrides, self)


def parse(overrides: Sequence[str], base: LabConfig | None = None) -> LabConfig:
    """A validated config. Raises `ConfigError`."""
    raw: dict[str, Any] = (base or LabConfig()).model_dump(mode="json")
    for override in overrides:
        apply_override(raw, override)
    return validated(LabConfig, raw, "lab")
