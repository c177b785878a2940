"""Every study, by name."""

from collections.abc import Sequence

from training.config import ConfigError
from training.lab import in_the_plane, on_a_line
from training.lab.study import Study

STUDIES: dict[str, Study] = {study.name: study for study in (*on_a_line.STUDIES, *in_the_plane.STUDIES)}


def chosen(names: Sequence[str]) -> list[Study]:
    """The studies of these names, or `all`. Raises `ConfigError`, which lists the names there are."""
    unknown = [name for name in names if name not in STUDIES and name != "all"]
    if unknown:
        raise ConfigError(f"there is no study {', '.join(unknown)}; there are: all, {', '.join(STUDIES)}")
    return list(STUDIES.values()) if "all" in names else [STUDIES[name] for name in names]
