"""Which package may import which, read from the source, and tried in a process that lacks what must not be needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = {"fastapi", "starlette", "uvicorn"}
MAY_SPEAK_HTTP = {"errors", "deps", "main", "middleware", "openapi", "lifespan", "protocol", "serve", "shortcut"}
MAX_LINES = 400


def sources(package: str) -> list[Path]:
    return sorted(p for p in (ROOT / package).rglob("*.py") if "zoo" not in p.parts)


def imported(path: Path) -> set[str]:
    """Every module that a file imports, by full name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize(
    ("package", "forbidden"), [("app", {"training"}), ("models", {"app", "training"}), ("training", {"app"})]
)
def test_packages_import_in_one_direction(package: str, forbidden: set[str]) -> None:
    found = sources(package)
    assert found
    assert {str(p): sorted(tops(p) & forbidden) for p in found if tops(p) & forbidden} == {}


def test_only_the_edge_of_the_service_speaks_http() -> None:
    inside = [p for p in sources("app") if p.parent.name != "routes" and p.stem not in MAY_SPEAK_HTTP]
    assert {str(p): sorted(tops(p) & WEB) for p in inside if tops(p) & WEB} == {}


def test_engine_codecs_and_data_sets_know_nothing_of_what_is_above_them() -> None:
    above = (
        "app.routes",
        "app.schemas",
        "app.main",
        "app.errors",
        "app.deps",
        "app.middleware",
        "app.settings",
        "app.lifespan",
    )
    for path in [*sources("app/engine"), *sources("app/codecs"), *sources("app/datasets")]:
        assert [name for name in imported(path) if name.startswith(above)] == [], path


def test_files_stay_small() -> None:
    long = {str(p): n for p in sources("app") if (n := len(p.read_text().splitlines())) > MAX_LINES}
    assert long == {}


def test_the_service_needs_nothing_of_training_and_importing_it_starts_nothing() -> None:
    script = """
import sys, threading
for name in ("training", "lightning_fabric", "torchmetrics", "scipy", "prdc", "matplotlib", "rich", "datasets", "pytest"):
    sys.modules[name] = None  # importing it now raises ImportError
import app.__main__, app.serve
from app.main import create_app
assert threading.active_count() == 1, threading.enumerate()
create_app().openapi()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
