"""Going back to the last good state, and on from there more gently."""

from typing import Any

from training.config import TrainConfig

SLOWER, FIRMER = 0.5, 3.0  # what a rollback multiplies learning rates and gradient penalties with
FIRST_PENALTY = 0.1  # γ of R1 where there was no penalty to multiply


def gentler(config: TrainConfig, rollbacks: int) -> TrainConfig:
    """The config after so many rollbacks: a pure function, so a restart needs to know no more than their number."""
    if not rollbacks:
        return config
    loss, rates, slower, firmer = config.loss, config.optimizer, SLOWER**rollbacks, FIRMER**rollbacks
    penalties = {name: getattr(loss, name) * firmer for name in ("r1", "r2", "gradient_penalty") if getattr(loss, name)}
    if not penalties:
        penalties = {"r1": FIRST_PENALTY * FIRMER ** (rollbacks - 1)}
    lower = {"learning_rate": rates.learning_rate * slower}
    if rates.d_learning_rate is not None:
        lower["d_learning_rate"] = rates.d_learning_rate * slower
    return config.model_copy(update={"loss": loss.model_copy(update=penalties), "optimizer": rates.model_copy(update=lower)})


def difference(old: TrainConfig, new: TrainConfig) -> dict[str, Any]:
    """Which keys of the two tables that `gentler` changes have which other values: dotted key → [old, new]."""
    both = (("loss", old.loss, new.loss), ("optimizer", old.optimizer, new.optimizer))
    return {
        f"{table}.{key}": [value, getattr(now, key)]
        for table, was, now in both
        for key, value in was
        if value != getattr(now, key)
    }
