"""How the parts of the data sets have what blocks done elsewhere."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Runs a function that touches the disk or the database where it keeps nobody waiting."""

    def __call__(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...
