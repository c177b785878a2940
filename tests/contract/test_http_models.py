"""Models, documents and metrics over HTTP."""

import io
import json
import re

import httpx2
import pytest
from PIL import Image

from app.endpoints import ENDPOINTS

FIELDS = {
    "id", "object", "created", "owned_by", "task", "version", "status", "resolution", "channels", "latent_dim",
    "labels", "codes", "default", "metrics", "licence", "size_bytes",
}  # fmt: skip


def test_the_list_of_models(client: httpx2.Client) -> None:
    body = client.get("/v1/models").json()
    assert body["object"] == "list"
    models = {m["id"]: m for m in body["data"]}
    assert sorted(models) == ["blobs", "digits-mlp", "facades", "fashion", "holes", "horses", "knobs", "photo-x4", "reader"]
    assert all(set(m) >= FIELDS for m in models.values())
    fashion = models["fashion"]
    assert (fashion["object"], fashion["task"], fashion["status"]) == ("model", "conditional", "ready")
    assert (fashion["resolution"], fashion["channels"], fashion["latent_dim"]) == ([16, 16], 1, 8)
    assert fashion["labels"] == ["T-shirt", "Trouser", "Ankle boot"]
    assert (fashion["codes"], fashion["metrics"], fashion["licence"]) == ([], {"kid": 1.5}, "Apache-2.0")
    assert [m["id"] for m in body["data"] if m["default"]] == ["fashion"]
    assert fashion["created"] == 1767323045


def test_a_model_tells_its_codes(client: httpx2.Client) -> None:
    model = client.get("/v1/models/knobs").json()
    assert model["task"] == "codes" and model["endpoints"][0] == "POST /v1/sample"
    assert model["codes"] == [
        {"name": "garment", "kind": "category", "values": ["T-shirt", "Trouser", "Ankle boot"]},
        {"name": "slant", "kind": "continuous", "values": []},
        {"name": "width", "kind": "continuous", "values": []},
    ]


@pytest.mark.parametrize("id", ["fashion", "fashion@1"])
def test_one_model(client: httpx2.Client, id: str) -> None:
    response = client.get(f"/v1/models/{id}")
    model = response.json()
    assert set(model) >= FIELDS | {"endpoints", "training", "data"}
    assert (model["id"], model["version"]) == ("fashion", 1)
    assert "POST /v1/generate" in model["endpoints"] and "POST /v1/sample" not in model["endpoints"]
    assert model["data"]["licence"] == "CC0-1.0"
    assert (response.headers["x-model"], response.headers["x-model-version"]) == ("fashion", "1")


def test_the_sample_sheet(client: httpx2.Client) -> None:
    response = client.get("/v1/models/fashion/samples.png")
    assert response.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).size == (8, 8)


def test_every_endpoint_that_models_name_exists(client: httpx2.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for endpoint in {e for endpoints in ENDPOINTS.values() for e in endpoints}:
        method, path = endpoint.split()
        assert method.lower() in paths[path]


def test_the_examples_in_the_documents_run_as_pasted(client: httpx2.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    ran = 0
    for path, operations in document["paths"].items():
        content = operations.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in content:  # one takes a file and nothing else
            reference = content["application/json"]["schema"]["$ref"]
            for example in schemas[reference.rpartition("/")[2]]["examples"]:
                response = client.post(path, json=example)
                assert response.status_code in (200, 202), (path, response.text)
                if response.status_code == 202:  # a data set, which is not to disturb what comes after
                    assert client.get(response.headers["Location"] + "/events").status_code == 200
                ran += 1
    assert ran >= 4


def test_problems_are_documented_with_their_own_media_type(client: httpx2.Client) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert set(response["content"]) == {"application/problem+json"}, (path, method, status)


def test_the_documents_and_the_way_to_them(client: httpx2.Client) -> None:
    assert client.get("/docs").status_code == 200
    home = client.get("/")
    assert (home.status_code, home.headers["location"]) == (307, "/docs")


def test_health(client: httpx2.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    assert client.head("/healthz").status_code == 200


def metric(text: str, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def test_metrics_count_what_happened(client: httpx2.Client) -> None:
    series = 'ganymede_pictures_total{model="blobs",version="1"}'
    requests = 'ganymede_requests_total{method="POST",model="blobs",route="/v1/sample",status="200"}'
    before = client.get("/metrics").text
    assert client.post("/v1/sample", json={"model": "blobs", "n": 5}).status_code == 200
    after = client.get("/metrics").text
    assert metric(after, series) - metric(before, series) == 5
    assert metric(after, requests) - metric(before, requests) == 1
    assert metric(after, 'ganymede_request_seconds_count{model="blobs",route="/v1/sample"}') >= 1
    assert metric(after, 'ganymede_model_memory_bytes{model="blobs"') > 0
    assert "ganymede_queue_pixels 0.0" in after
    assert "ganymede_batch_pictures_bucket" in after


def test_metrics_are_not_named_by_what_callers_invent(client: httpx2.Client) -> None:
    client.get("/invented-by-a-caller")
    client.post("/v1/sample", json={"model": "invented-by-a-caller"})
    assert "invented-by-a-caller" not in client.get("/metrics").text


def test_the_log_is_one_json_object_a_line(client: httpx2.Client, server) -> None:  # type: ignore[no-untyped-def]
    client.get("/v1/models", headers={"X-Request-ID": "find-me-in-the-log"})
    server.wait_for(lambda: "find-me-in-the-log" in server.log())
    lines = [json.loads(line) for line in server.log().splitlines()]
    (entry,) = [line for line in lines if line.get("request_id") == "find-me-in-the-log"]
    assert (entry["status"], entry["route"], entry["method"]) == (200, "/v1/models", "GET")


def test_the_docs_page_needs_no_other_host(client: httpx2.Client) -> None:
    page = client.get("/docs").text
    scripts = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page)
    assert len(scripts) >= 2
    for script in scripts:
        assert script.startswith("/")
        assert len(client.get(script).content) > 10_000
