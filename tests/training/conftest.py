"""Where the real data sets are: GANYMEDE_DATA, or `../shared/data` beside the repository."""

from collections.abc import Callable
from pathlib import Path

import pytest

from training.data.locate import locate


@pytest.fixture(scope="session")
def data_path() -> Callable[..., Path]:
    """Finds a file or folder of the shared data. Skips the calling test, with the reason, where it isn't there."""

    def find(*parts: str) -> Path:
        path = locate(Path(*parts))
        if path is None:
            pytest.skip(f"no {'/'.join(parts)}: point GANYMEDE_DATA at the folder with the real data sets")
        return path

    return find
