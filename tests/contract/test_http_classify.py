"""What callers of classify rely on, over a real socket: the classes that a model with a classifier takes a picture for."""

import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch
from PIL import Image
from server_process import ServerProcess
from zoo_factory import CLOTHES, make_entry

from models.checkpoint import load_checkpoint
from models.pixels import from_uint8

SIDE = 16


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has a classifier, and others that have none."""
    zoo = tmp_path_factory.mktemp("classes") / "zoo"
    for name, family in (("blobs", "dcgan"), ("few-labels", "semi"), ("photo-x4", "srgan")):
        make_entry(zoo, name, family)
    return zoo


@pytest.fixture(scope="module")
def client(zoo: Path, start_server: Callable[..., ServerProcess]) -> httpx2.Client:
    server = start_server(zoo)
    server.wait_until_ready()
    return server.client


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def classify(client: httpx2.Client, image: bytes, **fields: str) -> httpx2.Response:
    return client.post("/v1/classify", files={"image": ("a.png", image)}, data=fields)


def test_probabilities_are_those_of_the_published_classifier(client: httpx2.Client, zoo: Path) -> None:
    answer = classify(client, png(noise(1)), model="few-labels")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"model", "version", "created", "classes", "timing_ms"}
    assert (body["model"], body["version"], answer.headers["x-model"]) == ("few-labels", 1, "few-labels")
    classifier = load_checkpoint(zoo / "few-labels" / "1").extras["classifier"]
    expected = classifier(from_uint8(torch.from_numpy(noise(1)))[None, None]).softmax(dim=1)[0]
    found = body["classes"]
    assert [c["label"] for c in found] == expected.argsort(descending=True).tolist()
    for c in found:
        assert set(c) == {"label", "label_name", "probability"}
        assert c["label_name"] == CLOTHES[c["label"]]
        assert c["probability"] == pytest.approx(expected[c["label"]].item(), abs=1e-5)
    assert sum(c["probability"] for c in found) == pytest.approx(1, abs=1e-5)


def test_form_and_json_are_alike_and_the_first_model_that_can_is_asked(client: httpx2.Client) -> None:
    image = png(noise(2))
    by_form = classify(client, image).json()["classes"]
    by_json = client.post("/v1/classify", json={"image": base64.b64encode(image).decode()}).json()
    assert (by_json["model"], by_json["classes"]) == ("few-labels", by_form)


def test_answers_do_not_depend_on_company(client: httpx2.Client) -> None:
    images = [png(noise(i)) for i in range(6)]
    alone = [classify(client, image).json()["classes"] for image in images]
    assert len({str(a) for a in alone}) == 6
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda image: classify(client, image).json()["classes"], images)) == alone


@pytest.mark.parametrize(
    ("fields", "status", "slug", "told"),
    [
        ({"model": "blobs"}, 409, "wrong-task", "ships no classifier"),
        ({"model": "photo-x4"}, 409, "wrong-task", "POST /v1/upscale"),
        ({"model": "nobody"}, 404, "unknown-model", "nobody"),
        ({"label": "0"}, 422, "invalid-request", "label"),
    ],
)
def test_what_can_not_be_done_is_told(client: httpx2.Client, fields: dict[str, str], status: int, slug: str, told: str) -> None:
    problem = classify(client, png(noise(3)), **fields)
    assert (problem.status_code, problem.json()["type"]) == (status, slug), problem.text
    assert problem.headers["content-type"] == "application/problem+json"
    assert told in problem.text


def test_bad_pictures_and_other_formats_are_refused(client: httpx2.Client) -> None:
    assert classify(client, png(noise(4))[:-30]).json()["type"] == "bad-image"
    files = {"image": ("a.png", png(noise(4)))}
    refused = client.post("/v1/classify", files=files, headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["type"]) == (406, "not-acceptable")


def test_the_model_says_what_it_can_and_draws(client: httpx2.Client) -> None:
    endpoints = client.get("/v1/models/few-labels").json()["endpoints"]
    assert {"POST /v1/sample", "POST /v1/classify"} <= set(endpoints) and "POST /v1/discriminate" not in endpoints
    assert "POST /v1/classify" not in client.get("/v1/models/blobs").json()["endpoints"]
    drawn = client.post("/v1/sample", json={"model": "few-labels", "seed": 1}, headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(drawn.content)).size == (SIDE, SIDE)
    assert client.post("/v1/generate", json={"model": "few-labels", "label": 0}).json()["type"] == "wrong-task"
