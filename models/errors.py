"""What can go wrong with a model, as one small tree of errors."""

from pathlib import Path


class ModelError(Exception):
    """Root of every error that `models` raises on purpose."""


class UnknownFamilyError(ModelError):
    """A manifest or a config names a GAN family that this build does not have."""


class CheckpointError(ModelError):
    """A zoo entry that must not be served.

    Says which entry, what is wrong with it, and what to do next, in that order: the message is shown as it is to
    whoever runs the server.
    """

    def __init__(self, entry: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{entry.parent.name}/{entry.name}: {reason}. {remedy}")
        self.entry = entry
        self.reason = reason
        self.remedy = remedy
