"""What the engine refuses or fails to do, as one small tree of errors. `app.errors` maps each to a reply."""

from models.tasks import Task


class EngineError(Exception):
    """Root of every error that the engine raises on purpose. Its text is shown to the caller."""

    model: tuple[str, int] | None = None  # name and version, once it is known which model the request is about


class InvalidRequestError(EngineError):
    """The request is well-formed, but this model can't honour it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownModelError(EngineError):
    """No model of that name and version, or none for that task."""


class WrongTaskError(EngineError):
    """The model can't do what was asked of it."""

    def __init__(self, name: str, task: Task, why: str | None = None) -> None:
        super().__init__(f"the model '{name}' {why or f'is {task}'}")
        self.task = task


class TooLargeError(EngineError):
    """The picture, or its answer, has more pixels than this service makes."""


class UnknownLabelError(EngineError):
    """The model has no class of that name or index."""


class ModelUnavailableError(EngineError):
    """The model is in the zoo, but can't be served: its message says why."""


class OverloadedError(EngineError):
    """The queue is full. `retry_after_s`: when there should be room again, from the measured rate."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class DeadlineExceededError(EngineError):
    """The caller's deadline passed before the pictures were ready."""


class EngineStoppedError(EngineError):
    """The service is shutting down and takes no more work."""


class ExecutionFailedError(EngineError):
    """A network failed. The reason is in the log, and not for the caller."""
