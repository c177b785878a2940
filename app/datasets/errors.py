"""What the data sets refuse, beside what the engine does. `app.errors` maps each to a reply."""

from app.engine.errors import EngineError


class StorageFullError(EngineError):
    """The quota is used up."""


class TooManyDatasetsError(EngineError):
    """There may be no more of them."""


class NotFinishedError(EngineError):
    """It has to be finished first."""


class UnfillableError(Exception):
    """The filter refuses too much: this fails a job, and is told by it."""
