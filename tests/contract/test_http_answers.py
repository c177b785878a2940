"""What callers of translate and upscale rely on, over a real socket."""

import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from server_process import ServerProcess
from zoo_factory import make_entry, make_translators

MAX_PIXELS = 2**18
SIZES = [(1, 1), (1, 57), (16, 16), (33, 20), (150, 101)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., ServerProcess]) -> httpx2.Client:
    """Of a server with a model of each family that answers pictures, and one that draws."""
    zoo = make_translators(tmp_path_factory.mktemp("answers") / "zoo")
    make_entry(zoo, "blobs", "dcgan")
    server = start_server(
        zoo,
        GANYMEDE_MAX_PIXELS=str(MAX_PIXELS),
        GANYMEDE_TILE_PIXELS="4096",
        GANYMEDE_MAX_BODY_BYTES="400000",
        GANYMEDE_DEFAULT_MODEL="photo-x4",
    )
    server.wait_until_ready()
    return server.client


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    small = Image.fromarray(rng.integers(0, 256, (max(2, height // 8), max(2, width // 8), 4), np.uint8), "RGBA")
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def file_of(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def send(client: httpx2.Client, path: str, image: bytes, **fields: Any) -> httpx2.Response:
    return client.post(path, files={"image": ("x.png", image)}, data=fields, headers={"Accept": "image/png"})


def picture(response: httpx2.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    with Image.open(io.BytesIO(response.content)) as image:
        image.load()
        return image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", ["resize", "pad", "tile"])
@pytest.mark.parametrize(("model", "direction"), [("facades", "AtoB"), ("horses", "AtoB"), ("horses", "BtoA")])
def test_a_translation_has_the_size_of_what_it_translates(
    client: httpx2.Client, size: tuple[int, int], fit: str, model: str, direction: str
) -> None:
    made = picture(send(client, "/v1/translate", file_of(noise(*size)), model=model, fit=fit, direction=direction))
    assert (made.size, made.mode) == (size, "RGB")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_an_enlarged_picture_has_four_times_the_sides_and_the_same_channels(
    client: httpx2.Client, size: tuple[int, int], mode: str
) -> None:
    given = noise(*size, mode)
    made = picture(send(client, "/v1/upscale", file_of(given)))
    assert made.size == (size[0] * 4, size[1] * 4)
    assert made.mode == mode
    if mode.endswith("A"):
        alpha = np.asarray(made.getchannel("A").resize(size, Image.Resampling.BOX), int)
        assert np.abs(alpha - np.asarray(given.getchannel("A"), int)).mean() < 8


def test_json_and_form_give_the_same_picture(client: httpx2.Client) -> None:
    image = file_of(noise(20, 30))
    form = send(client, "/v1/upscale", image, fidelity="0.25")
    encoded = base64.b64encode(image).decode()
    for text in (encoded, f"data:image/png;base64,{encoded}"):
        body = {"image": text, "fidelity": 0.25}
        assert client.post("/v1/upscale", json=body, headers={"Accept": "image/png"}).content == form.content
    answer = client.post("/v1/upscale", json={"image": encoded, "fidelity": 0.25}).json()
    assert (answer["model"], answer["version"]) == ("photo-x4", 1)
    (only,) = answer["images"]
    assert base64.b64decode(only["b64"]) == form.content
    assert (only["width"], only["height"], only["seed"], only["label"]) == (80, 120, None, None)
    assert form.headers["X-Model"] == "photo-x4" and form.headers["X-Model-Version"] == "1"
    text = picture(form).text
    assert text["ganymede:model"] == "photo-x4" and "synthetic image" in text["Description"]
    assert "ganymede:seed" not in text and "ganymede:truncation" not in text


def test_the_same_picture_gets_the_same_answer_alone_and_in_company(client: httpx2.Client) -> None:
    images = [file_of(noise(16 + i, 24)) for i in range(12)]
    alone = [send(client, "/v1/translate", image, model="facades").content for image in images]
    with ThreadPoolExecutor(12) as pool:
        together = pool.map(lambda image: send(client, "/v1/translate", image, model="facades").content, images * 3)
        assert list(together) == alone * 3


def test_fidelity_leads_from_the_sharp_weights_to_the_faithful_ones(client: httpx2.Client) -> None:
    image = file_of(noise(24, 24))
    published, sharp, half, faithful = (
        np.asarray(picture(send(client, "/v1/upscale", image, **fields)), int)
        for fields in ({}, {"fidelity": 0}, {"fidelity": 0.5}, {"fidelity": 1})
    )
    assert np.array_equal(published, sharp)
    assert not np.array_equal(sharp, faithful)
    assert np.abs(half - sharp).mean() < np.abs(faithful - sharp).mean() > np.abs(half - faithful).mean()


@pytest.mark.parametrize(
    ("path", "fields", "status", "slug", "told"),
    [
        ("/v1/translate", {"model": "photo-x4"}, 409, "wrong-task", "POST /v1/upscale"),
        ("/v1/upscale", {"model": "facades"}, 409, "wrong-task", "POST /v1/translate"),
        ("/v1/upscale", {"model": "blobs"}, 409, "wrong-task", "POST /v1/sample"),
        ("/v1/upscale", {"model": "none"}, 404, "unknown-model", "none"),
        ("/v1/translate", {"model": "facades", "direction": "BtoA"}, 422, "invalid-request", "A to B only"),
        ("/v1/translate", {"fit": "squeeze"}, 422, "invalid-request", "fit"),
        ("/v1/upscale", {"fidelity": "1.5"}, 422, "invalid-request", "fidelity"),
        ("/v1/upscale", {"fidelity": "nan"}, 422, "invalid-request", "fidelity"),
        ("/v1/upscale", {"scale": "2"}, 422, "invalid-request", "scale"),
    ],
)
def test_what_can_not_be_done_is_told(
    client: httpx2.Client, path: str, fields: dict[str, str], status: int, slug: str, told: str
) -> None:
    problem = send(client, path, file_of(noise(8, 8)), **fields)
    assert (problem.status_code, problem.json()["type"]) == (status, slug)
    assert told in problem.text
    assert problem.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("image", "status", "slug"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported-media-type"),
        (b"<!doctype html><title>x</title>", 415, "unsupported-media-type"),
        (file_of(noise(30, 30))[:-40], 422, "bad-image"),
        (b"", 422, "invalid-request"),
        (file_of(Image.new("L", (700, 700))), 413, "image-too-large"),
        (file_of(Image.new("L", (129, 128))), 413, "image-too-large"),  # its answer would be
        (b"\xff" * 500_000, 413, "body-too-large"),
    ],
)
def test_what_is_no_usable_picture_is_refused(client: httpx2.Client, image: bytes, status: int, slug: str) -> None:
    problem = send(client, "/v1/upscale", image)
    assert (problem.status_code, problem.json()["type"]) == (status, slug), problem.text
    if slug == "image-too-large":
        assert str(MAX_PIXELS // 16) in problem.text  # as the answer has sixteen times as many


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"json": {}}, "image"),
        ({"json": {"image": "~~~"}}, "image"),
        ({"json": {"image": "data:image/png,raw"}}, "image"),
        ({"json": {"image": 7}}, "image"),
        ({"data": {"image": "text"}, "files": {"other": b"x"}}, "image"),
        ({"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "body"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, "body"),
    ],
)
def test_bodies_without_a_picture_are_refused(client: httpx2.Client, body: dict[str, Any], where: str) -> None:
    problem = client.post("/v1/upscale", **body)
    assert (problem.status_code, problem.json()["type"]) == (422, "invalid-request"), problem.text
    assert where in problem.text


def test_the_models_say_what_they_do(client: httpx2.Client) -> None:
    models = {m["id"]: m for m in client.get("/v1/models").json()["data"]}
    assert models["facades"]["task"] == "translation" and models["facades"]["latent_dim"] is None
    assert models["photo-x4"]["task"] == "super-resolution" and models["photo-x4"]["resolution"] == [32, 32]
    assert client.get("/v1/models/photo-x4").json()["endpoints"] == ["POST /v1/upscale"]
    document = client.get("/openapi.json").json()
    assert set(document["paths"]["/v1/upscale"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
    }


def test_too_many_pictures_at_a_time_are_refused(tmp_path: Path, start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(make_translators(tmp_path / "zoo"), GANYMEDE_MAX_PICTURES_HELD="1", GANYMEDE_DEFAULT_MODEL="photo-x4")
    server.wait_until_ready()
    image = file_of(noise(200, 200))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(server.client, "/v1/upscale", image), range(16)))
    refused = [a for a in answers if a.status_code == 503]
    assert refused and all(a.json()["type"] == "overloaded" and a.headers["Retry-After"] for a in refused)
    assert {a.content for a in answers if a.status_code == 200} == {send(server.client, "/v1/upscale", image).content}
