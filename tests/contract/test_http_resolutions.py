"""`resolution`, over a real socket: what a model with several sizes answers, and what all others do."""

import io
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from server_process import ServerProcess
from zoo_factory import make_entry

WALK = {"keyframes": [{"seed": 1}, {"seed": 2}], "steps": 4}
SUM = {"terms": [{"weight": 1, "seeds": [1, 2]}, {"weight": -1, "seeds": [3]}]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., ServerProcess]) -> httpx2.Client:
    """Of a server with a model of two sizes, and two of one."""
    zoo = tmp_path_factory.mktemp("sizes") / "zoo"
    make_entry(zoo, "faces", "progressive")
    make_entry(zoo, "blobs", "dcgan")
    make_entry(zoo, "fashion", "conditional")
    server = start_server(zoo, GANYMEDE_DEFAULT_MODEL="faces")
    server.wait_until_ready()
    return server.client


def array(client: httpx2.Client, path: str, **body: Any) -> np.ndarray[Any, Any]:
    response = client.post(path, json={"model": "faces", **body}, headers={"Accept": "application/x-npy"})
    assert response.status_code == 200, response.text
    found: np.ndarray[Any, Any] = np.load(io.BytesIO(response.content))
    return found


def test_models_say_which_sizes_they_have(client: httpx2.Client) -> None:
    models = {m["id"]: m for m in client.get("/v1/models").json()["data"]}
    assert {name: m["resolutions"] for name, m in models.items()} == {"faces": [8, 16], "blobs": [16], "fashion": [16]}
    assert models["faces"]["resolution"] == [16, 16]


WAYS = [("/v1/sample", {"n": 3, "seed": 7}), ("/v1/interpolate", WALK), ("/v1/arithmetic", SUM)]


@pytest.mark.parametrize(("path", "body"), WAYS)
def test_pictures_of_every_size_by_every_way(client: httpx2.Client, path: str, body: dict[str, Any]) -> None:
    large, small = array(client, path, **body), array(client, path, **body, resolution=8)
    assert large.shape[1:] == (16, 16, 3) and small.shape[1:] == (8, 8, 3) and len(small) == len(large)
    assert (array(client, path, **body, resolution=16) == large).all()


def test_json_and_films_have_the_size_that_was_asked_for(client: httpx2.Client) -> None:
    (image,) = client.post("/v1/sample", json={"seed": 7, "resolution": 8}).json()["images"]
    assert (image["width"], image["height"], image["seed"]) == (8, 8, 7)
    film = client.post("/v1/interpolate", json={**WALK, "steps": 20, "resolution": 8}, headers={"Accept": "image/gif"})
    assert Image.open(io.BytesIO(film.content)).size == (8, 8)


def test_a_picture_by_address_has_a_tag_for_each_size(client: httpx2.Client) -> None:
    answers = {r: client.get(f"/v1/images/faces/7.png?{r}") for r in ("", "resolution=8", "resolution=16")}
    sides = [Image.open(io.BytesIO(a.content)).width for a in answers.values()]
    tags = [a.headers["etag"] for a in answers.values()]
    assert sides == [16, 8, 16] and tags[0] == tags[2] != tags[1]
    assert answers[""].content == answers["resolution=16"].content
    again = client.get("/v1/images/faces/7.png?resolution=8", headers={"If-None-Match": tags[1]})
    assert again.status_code == 304
    alone = np.asarray(Image.open(io.BytesIO(answers["resolution=8"].content)))
    assert (alone == array(client, "/v1/sample", n=64, seed=0, resolution=8)[7]).all()


@pytest.mark.parametrize(
    ("path", "body", "has"),
    [
        ("/v1/sample", {"model": "faces", "resolution": 32}, "8, 16 px"),
        ("/v1/sample", {"model": "blobs", "resolution": 8}, "16 px"),
        ("/v1/generate", {"model": "fashion", "resolution": 8}, "16 px"),
        ("/v1/interpolate", {"model": "fashion", "resolution": 8, **WALK}, "16 px"),
        ("/v1/arithmetic", {"model": "blobs", "resolution": 8, **SUM}, "16 px"),
    ],
)
def test_a_size_that_a_model_lacks_is_refused_by_name(client: httpx2.Client, path: str, body: dict[str, Any], has: str) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 422 and response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "invalid-request" and problem["errors"][0]["loc"] == ["body", "resolution"]
    assert f"pictures of {has}, and none of {body['resolution']}" in problem["detail"]
    assert response.headers["x-model"] == body["model"]


def test_the_same_of_an_address_is_about_its_query(client: httpx2.Client) -> None:
    problem = client.get("/v1/images/blobs/7.png?resolution=8").json()
    assert (problem["status"], problem["errors"][0]["loc"]) == (422, ["query", "resolution"])
    for wrong in ("0", "-8", "8.5", "x"):
        assert client.get(f"/v1/images/faces/7.png?resolution={wrong}").status_code == 422


def test_a_model_of_one_size_takes_that_one(client: httpx2.Client) -> None:
    assert array(client, "/v1/sample", model="blobs", seed=1, resolution=16).shape == (1, 16, 16, 3)
