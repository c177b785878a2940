"""Every refusal is a problem+json with a stable slug, and nothing that a client can send makes a 500."""

import json
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import PROBLEMS
from models.latents import MAX_SEED

JSON = {"Content-Type": "application/json"}


def is_problem(response: httpx2.Response, slug: str) -> dict[str, Any]:
    problem = PROBLEMS[slug]
    assert response.status_code == problem.status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert (body["type"], body["title"], body["status"]) == (slug, problem.title, problem.status)
    assert body["detail"] and body["instance"] == response.request.url.path
    return body


GOOD_FRAMES = [{"seed": 1}, {"seed": 2}]


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("/v1/sample", {"unknown": 1}, ["body", "unknown"]),
        ("/v1/sample", {"n": 0}, ["body", "n"]),
        ("/v1/sample", {"n": 257}, ["body", "n"]),
        ("/v1/sample", {"n": True}, ["body", "n"]),
        ("/v1/sample", {"seed": -1}, ["body", "seed"]),
        ("/v1/sample", {"seed": MAX_SEED + 1}, ["body", "seed"]),
        ("/v1/sample", {"seed": 1.0}, ["body", "seed"]),
        ("/v1/sample", {"seed": "1"}, ["body", "seed"]),
        ("/v1/sample", {"seed": True}, ["body", "seed"]),
        ("/v1/sample", {"seed": 10**400}, ["body", "seed"]),
        ("/v1/sample", {"seed": MAX_SEED, "n": 2}, ["body"]),
        ("/v1/sample", {"truncation": 1.01}, ["body", "truncation"]),
        ("/v1/sample", {"truncation": "1"}, ["body", "truncation"]),
        ("/v1/sample", {"z": [[float("nan")] * 8]}, ["body", "z", 0, 0]),
        ("/v1/sample", {"z": [[float("inf")] * 8]}, ["body", "z", 0, 0]),
        ("/v1/sample", {"z": [[1e300] * 8]}, ["body", "z", 0, 0]),
        ("/v1/sample", {"z": [[0.0] * 7]}, ["body", "z", "0"]),
        ("/v1/sample", {"z": [[0.0] * 8], "n": 2}, ["body"]),
        ("/v1/sample", {"z": [[0.0] * 8], "seed": 2}, ["body"]),
        ("/v1/sample", {"z": []}, ["body", "z"]),
        ("/v1/generate", {"labels": [0, 1], "n": 3}, ["body"]),
        ("/v1/generate", {"labels": [0], "label": 1}, ["body"]),
        ("/v1/interpolate", {"keyframes": [{"seed": 1}]}, ["body", "keyframes"]),
        ("/v1/interpolate", {"keyframes": [{"seed": 1}] * 17}, ["body", "keyframes"]),
        ("/v1/interpolate", {"keyframes": [{"seed": 1, "z": [0.0] * 8}, {"seed": 1}]}, ["body", "keyframes", 0]),
        ("/v1/interpolate", {"keyframes": [{}, {"seed": 1}]}, ["body", "keyframes", 0]),
        ("/v1/interpolate", {"keyframes": [{"seed": 1, "label": 0}, {"seed": 1}]}, ["body", "keyframes"]),
        ("/v1/interpolate", {"keyframes": GOOD_FRAMES, "steps": 1}, ["body", "steps"]),
        ("/v1/interpolate", {"keyframes": GOOD_FRAMES, "steps": 121}, ["body", "steps"]),
        ("/v1/interpolate", {"keyframes": GOOD_FRAMES, "fps": 61}, ["body", "fps"]),
        ("/v1/interpolate", {"keyframes": GOOD_FRAMES, "method": "cubic"}, ["body", "method"]),
        ("/v1/arithmetic", {"terms": []}, ["body", "terms"]),
        ("/v1/arithmetic", {"terms": [{"weight": 1, "seeds": []}]}, ["body", "terms", 0, "seeds"]),
    ],
)
def test_what_is_wrong_is_said_and_where(client: httpx2.Client, path: str, body: dict[str, Any], loc: list[Any]) -> None:
    response = client.post(path, content=json.dumps(body), headers=JSON)
    errors = is_problem(response, "invalid-request")["errors"]
    assert loc in [e["loc"] for e in errors]
    assert all(e["msg"] for e in errors)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nonsense", b"[]", b"1", b"null", b"\xff\xfe", b'"\\ud800"', b"[" * 100_000, b'{"seed":' + b"9" * 5000 + b"}",
     b'{"a":' * 20_000, b'{"model":"\\ud800"}', b'{"label":"\\u0000"}'],
)  # fmt: skip
def test_broken_bodies_are_refused(client: httpx2.Client, content: bytes) -> None:
    response = client.post("/v1/generate", content=content, headers=JSON)
    assert response.json()["type"] in {"invalid-request", "unknown-model", "unknown-label"}
    assert 400 <= response.status_code < 500


def test_unknown_models(client: httpx2.Client) -> None:
    for model in ("nope", "fashion@2", "fashion@x", "fashion@", "../fashion", "Fashion"):
        is_problem(client.post("/v1/generate", json={"model": model}), "unknown-model")
    assert "fashion" in is_problem(client.get("/v1/models/nope"), "unknown-model")["detail"]
    is_problem(client.get("/v1/models/nope/samples.png"), "unknown-model")
    is_problem(client.get("/v1/images/nope/1.png"), "unknown-model")


def test_the_wrong_task_names_the_right_endpoint(client: httpx2.Client) -> None:
    response = client.post("/v1/sample", json={"model": "fashion"})
    assert "/v1/generate" in is_problem(response, "wrong-task")["detail"]
    assert response.headers["x-model"] == "fashion"
    assert "/v1/sample" in is_problem(client.post("/v1/generate", json={"model": "blobs"}), "wrong-task")["detail"]


def test_unknown_labels_list_what_there_is(client: httpx2.Client) -> None:
    detail = is_problem(client.post("/v1/generate", json={"label": "trousers"}), "unknown-label")["detail"]
    assert "Did you mean 'Trouser'?" in detail and "Ankle boot" in detail
    is_problem(client.post("/v1/generate", json={"label": 3}), "unknown-label")
    is_problem(client.get("/v1/images/fashion/1.png?label=3"), "unknown-label")
    is_problem(client.get("/v1/images/blobs/1.png?label=0"), "unknown-label")
    labelled = [{"seed": 1, "label": 0}, {"seed": 2, "label": 0}]
    is_problem(client.post("/v1/interpolate", json={"model": "blobs", "keyframes": labelled}), "unknown-label")


def test_formats_that_are_not_to_be_had(client: httpx2.Client) -> None:
    for accept in ("image/gif", "text/html", "image/avif", "application/json;q=0"):
        is_problem(client.post("/v1/sample", json={}, headers={"Accept": accept}), "not-acceptable")
    is_problem(client.post("/v1/sample?format=bmp", json={}), "not-acceptable")
    video = client.post("/v1/interpolate", json={"keyframes": GOOD_FRAMES}, headers={"Accept": "video/mp4"})
    assert "image/webp" in is_problem(video, "not-acceptable")["detail"]


def test_a_format_that_is_no_name_at_all(client: httpx2.Client) -> None:
    errors = is_problem(client.post("/v1/sample?format=" + "x" * 101, json={}), "invalid-request")["errors"]
    assert errors[0]["loc"] == ["query", "format"]


def test_bodies_that_are_no_json(client: httpx2.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = client.post("/v1/sample", content=b"{}", headers={"Content-Type": kind})
        is_problem(response, "unsupported-media-type")


def test_bodies_that_are_too_large(client: httpx2.Client) -> None:
    is_problem(client.post("/v1/sample", content=b" " * 200_001, headers=JSON), "body-too-large")

    def chunks() -> Any:
        for _ in range(30):
            yield b" " * 10_000

    is_problem(client.post("/v1/sample", content=chunks(), headers=JSON), "body-too-large")  # no Content-Length
    assert client.post("/v1/sample", content=b"{}" + b" " * 199_998, headers=JSON).status_code == 200


def test_addresses_and_methods_that_do_not_exist(client: httpx2.Client) -> None:
    for path in ("/nope", "/v1/sample/", "/v1/images/fashion/1.bmp", "/v1/images/fashion/1"):
        is_problem(client.get(path), "not-found")
    refused = client.get("/v1/sample")
    is_problem(refused, "method-not-allowed")
    assert "POST" in refused.headers["allow"]


@pytest.mark.parametrize("seed", ["-1", str(MAX_SEED + 1), "1.5", "x", "9" * 5000, "%00"])
def test_bad_seeds_in_an_address(client: httpx2.Client, seed: str) -> None:
    is_problem(client.get(f"/v1/images/fashion/{seed}.png"), "invalid-request")


@pytest.mark.parametrize("query", ["truncation=nan", "truncation=2", "truncation=x", "label="])
def test_bad_options_in_an_address(client: httpx2.Client, query: str) -> None:
    is_problem(client.get(f"/v1/images/fashion/1.png?{query}"), "invalid-request")


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "1.5"])
def test_bad_deadlines(client: httpx2.Client, deadline: str) -> None:
    is_problem(client.post("/v1/sample", json={}, headers={"X-Deadline-Ms": deadline}), "invalid-request")


def test_a_deadline_that_passes(client: httpx2.Client) -> None:
    body = {"model": "blobs", "keyframes": [{"seed": 1}, {"seed": 2}] * 8, "steps": 120}
    is_problem(client.post("/v1/interpolate", json=body, headers={"X-Deadline-Ms": "1"}), "deadline-exceeded")


def test_a_sane_request_id_is_echoed_and_another_is_replaced(client: httpx2.Client) -> None:
    for path in ("/healthz", "/v1/models", "/nope"):
        assert client.get(path, headers={"X-Request-ID": "order-17:a.b_c"}).headers["x-request-id"] == "order-17:a.b_c"
        for insane in ("a b", "x" * 129, "<script>", "ümlaut".encode()):
            given = client.get(path, headers={"X-Request-ID": insane}).headers["x-request-id"]
            assert given != insane and len(given) == 32


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(
    ["model", "n", "seed", "z", "truncation", "label", "labels", "keyframes", "steps", "method", "loop", "fps", "terms"]
)
latent = st.lists(st.floats(), min_size=7, max_size=9)
likely = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["fashion", "blobs", "digits-mlp@1", "nope"]),
        "n": st.integers(-1, 6),
        "seed": st.integers(-1, MAX_SEED + 1),
        "z": st.lists(latent, max_size=3),
        "truncation": st.floats() | st.integers(0, 1),
        "label": st.integers(-1, 4) | st.text(max_size=5),
        "labels": st.lists(st.integers(-1, 4) | st.text(max_size=5), max_size=4),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/v1/sample", "/v1/generate", "/v1/interpolate", "/v1/arithmetic"]),
    body=st.dictionaries(fields, json_values, max_size=5) | likely | json_values,
)
def test_no_body_makes_a_server_error(client: httpx2.Client, path: str, body: Any) -> None:
    response = client.post(path, content=json.dumps(body), headers=JSON)
    assert response.status_code in {200, 404, 409, 422}, response.text


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accept=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), raw=st.binary(max_size=60))
def test_no_header_and_no_bytes_make_a_server_error(client: httpx2.Client, accept: str, raw: bytes) -> None:
    response = client.post("/v1/sample", content=raw, headers=JSON | {"Accept": accept.strip()})
    assert response.status_code in {200, 406, 422}, response.text
