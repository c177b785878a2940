"""Where the real data sets are: GANYMEDE_DATA, or `../shared/data` beside the repository."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data_path() -> Callable[..., Path]:
    """Finds a file or folder of the shared data. Skips the calling test, with the reason, where it isn't there."""

    def find(*parts: str) -> Path:
        folder = Path(os.environ.get("GANYMEDE_DATA", ROOT.parent / "shared" / "data"))
        path = folder.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"no {'/'.join(parts)}: point GANYMEDE_DATA at the folder with the real data sets")
        return path

    return find
