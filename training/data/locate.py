"""Where data sets lie on this machine, so that a config can name one without knowing the machine."""

import os
from pathlib import Path

SEARCHED = "data:../shared/data"  # unless GANYMEDE_DATA says otherwise; folders separated like those of PATH


def folders() -> list[Path]:
    """The folders in which data sets are looked for."""
    return [Path(folder) for folder in os.environ.get("GANYMEDE_DATA", SEARCHED).split(os.pathsep) if folder]


def locate(path: Path | str) -> Path | None:
    """The file or folder `path` itself, or the first of that name below the data folders; None if there is none."""
    candidates = [Path(path), *(folder / path for folder in folders())]
    return next((candidate for candidate in candidates if candidate.exists()), None)


def portable(path: str) -> str:
    """The same as others would call it who have it below another data folder: without the folder's own path."""
    for folder in folders():
        if Path(path).absolute().is_relative_to(folder.absolute()):
            return Path(path).absolute().relative_to(folder.absolute()).as_posix()
    return path
