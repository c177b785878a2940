"""How a long measurement tells how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done and the share of it that is done, 0 … 1. Must not raise; may be called often."""

    def __call__(self, stage: str, done: float) -> None: ...


def silent(stage: str, done: float) -> None:
    """Tells nobody."""
