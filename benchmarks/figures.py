"""Measured numbers, beside what they should be: as a table to read, and in `runs/` to keep."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number, and what it should be."""

    name: str
    value: float
    unit: str
    wanted: str


def tell(figures: Sequence[Figure], benchmark: str) -> None:
    """Prints a table, and writes `runs/<benchmark>.json`."""
    print("| figure | measured | unit | wanted |\n|---|---|---|---|")
    for figure in figures:
        print(f"| {figure.name} | {figure.value:.3g} | {figure.unit} | {figure.wanted} |")
    Path("runs").mkdir(exist_ok=True)
    Path("runs", f"{benchmark}.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=2))
