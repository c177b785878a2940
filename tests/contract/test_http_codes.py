"""Codes are knobs: what is set by name is what the latent says, and nothing else changes."""

import io
import json
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from server_process import ServerProcess
from websockets.sync.client import connect
from zoo_factory import CODES

from models.codes import with_codes
from models.latents import latents


def drawn(client: httpx2.Client, path: str = "/v1/sample", **body: Any) -> np.ndarray[Any, Any]:
    response = client.post(path, json=body, headers={"Accept": "application/x-npy"})
    assert response.status_code == 200, response.text
    pictures: np.ndarray[Any, Any] = np.load(io.BytesIO(response.content))
    return pictures


def test_codes_set_what_the_latent_says(client: httpx2.Client) -> None:
    """And a request that sets codes, and names no model, means one that has some."""
    wanted = {"garment": "trouser", "slant": -0.5}
    z = with_codes(latents([7, 8], 8), CODES, wanted)
    expected = drawn(client, model="knobs", z=z.tolist())
    assert (drawn(client, n=2, seed=7, codes=wanted) == expected).all()
    assert (drawn(client, n=2, z=latents([7, 8], 8).tolist(), codes=wanted) == expected).all()
    assert (drawn(client, n=2, seed=7, codes={"garment": 1, "slant": -0.5}) == expected).all()
    assert not (drawn(client, model="knobs", n=2, seed=7) == expected).all()


def test_truncation_leaves_codes_alone(client: httpx2.Client) -> None:
    """Or every picture would be of the category in the middle."""
    z = latents([3], 8)
    z[:, :5] = 0
    expected = drawn(client, model="knobs", z=z.tolist())
    assert (drawn(client, model="knobs", seed=3, truncation=0.0) == expected).all()
    assert (
        drawn(client, "/v1/arithmetic", model="knobs", terms=[{"weight": 1, "seeds": [3]}], truncation=0.0) == expected
    ).all()
    walk = {"keyframes": [{"seed": 3}, {"seed": 4}], "steps": 2}
    assert (drawn(client, "/v1/interpolate", model="knobs", truncation=0.0, **walk)[0] == expected[0]).all()


def test_a_picture_tells_its_codes(client: httpx2.Client) -> None:
    wanted = {"garment": "T-shirt", "width": 1}
    response = client.post("/v1/sample", json={"seed": 5, "codes": wanted}, headers={"Accept": "image/png"})
    texts = Image.open(io.BytesIO(response.content)).text  # type: ignore[attr-defined]
    assert texts["ganymede:seed"] == "5" and json.loads(texts["ganymede:codes"]) == wanted


def test_a_stream_turns_knobs(server: ServerProcess, client: httpx2.Client) -> None:
    with connect(server.url.replace("http", "ws") + "/v1/stream?format=npy") as socket:
        socket.send(json.dumps({"seed": 7, "codes": {"slant": 0.25}}))
        answer = socket.recv(60)
        assert isinstance(answer, bytes)
        assert (np.load(io.BytesIO(answer)) == drawn(client, seed=7, codes={"slant": 0.25})).all()
        socket.send(json.dumps({"between": [1, 2, 0.5], "codes": {"slant": 0.25}}))
        assert "`codes` go with" in str(socket.recv(60))


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/v1/sample", {"codes": {"garment": "hat"}}, "'garment' is one of T-shirt, Trouser, Ankle boot"),
        ("/v1/sample", {"codes": {"slant": 1.5}}, ""),
        ("/v1/sample", {"codes": {"Slant!": 0.5}}, ""),
        ("/v1/sample", {"codes": {"colour": 0.5}}, "its codes are garment, slant, width"),
        ("/v1/sample", {"model": "blobs", "codes": {"slant": 0.5}}, "no code 'slant'; it has none"),
        ("/v1/generate", {"codes": {"slant": 0.5}}, ""),
    ],
)
def test_what_is_no_code_is_refused(client: httpx2.Client, path: str, body: dict[str, Any], says: str) -> None:
    response = client.post(path, json=body)
    assert (response.status_code, response.json()["type"]) == (422, "invalid-request"), response.text
    assert "codes" in response.text and says in response.text
