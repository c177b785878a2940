"""Settings, the table of errors and the documents agree with each other and with the code."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from app import errors
from app.engine.errors import EngineError
from app.main import create_app
from app.settings import Settings, as_markdown, as_text, unknown_variables, variables

ROOT = Path(__file__).resolve().parents[2]


def test_every_engine_error_has_a_problem() -> None:
    def below(kind: type[EngineError]) -> set[type[EngineError]]:
        return {kind} | {e for sub in kind.__subclasses__() for e in below(sub)}

    assert set(errors.SLUG_OF) == below(EngineError) - {EngineError}
    assert set(errors.SLUG_OF.values()) <= set(errors.PROBLEMS)
    assert set(errors.SLUG_OF_STATUS.values()) <= set(errors.PROBLEMS)


CONTRACT = {
    "invalid-request": 422, "unknown-model": 404, "wrong-task": 409, "unknown-label": 422, "bad-image": 422,
    "image-too-large": 413, "unsupported-media-type": 415, "not-acceptable": 406, "unauthorized": 401, "forbidden": 403,
    "rate-limited": 429, "overloaded": 503, "model-unavailable": 503, "deadline-exceeded": 504,
}  # fmt: skip


def test_the_slugs_of_the_contract_never_change() -> None:
    assert {slug: errors.PROBLEMS[slug].status for slug in CONTRACT} == CONTRACT


def test_every_route_slug_and_format_is_documented() -> None:
    api = (ROOT / "docs" / "api.md").read_text()
    app = create_app(Settings())
    paths = [*app.openapi()["paths"], "/docs", "/openapi.json"]
    assert [p for p in paths if f"{p}`" not in api] == []
    assert [slug for slug in errors.PROBLEMS if f"`{slug}`" not in api] == []


def test_every_setting_is_documented_as_it_is() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    assert as_markdown() in operations
    assert all(name in as_text() and text for name, _, text in variables())


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("PORT", "x"), ("DEVICE", "tpu"), ("PRECISION", "int8"), ("MAX_PIXELS", "0"), ("LOG_LEVEL", "loud"),
     ("MAX_QUEUE_PIXELS", "1000"), ("CPU_THREADS", "0"), ("DEFAULT_MODEL", "../x"), ("STORAGE_DIR", "s3://a/b"),
     ("STORAGE_DIR", "ftp://a/b")],
)  # fmt: skip
def test_bad_settings_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"GANYMEDE_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANYMEDE_API_KEYS", " sesame,tulip ,")
    monkeypatch.setenv("GANYMEDE_CPU_THREADS", "")
    monkeypatch.setenv("GANYMEDE_LOG_LEVEL", "DEBUG")
    settings = Settings()
    assert [k.get_secret_value() for k in settings.api_keys] == ["sesame", "tulip"]
    assert (settings.cpu_threads, settings.log_level) == (None, "debug")
    assert "sesame" not in repr(settings)


def test_misspelt_settings_are_noticed() -> None:
    strange = unknown_variables({"GANYMEDE_PROT": "1", "GANYMEDE_PORT": "1", "HOME": "/", "GANYMEDE_XYZZY_QUUX": "1"})
    assert strange == {"GANYMEDE_PROT": "GANYMEDE_PORT", "GANYMEDE_XYZZY_QUUX": None}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )


def test_a_server_with_bad_settings_says_which_and_exits_with_2() -> None:
    done = run(GANYMEDE_PORT="x", GANYMEDE_DEVICE="tpu", GANYMEDE_API_KEYS="secret")
    assert done.returncode == 2
    assert "GANYMEDE_PORT" in done.stderr and "GANYMEDE_DEVICE" in done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr


def test_help_lists_every_setting() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name, _, _ in variables())


def test_a_device_that_is_not_there_is_a_bad_setting() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = run(GANYMEDE_DEVICE="cuda")
    assert done.returncode == 2 and "GANYMEDE_DEVICE" in done.stderr and "Traceback" not in done.stderr
