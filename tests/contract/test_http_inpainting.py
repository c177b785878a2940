"""What callers of inpaint, project and discriminate rely on, over a real socket."""

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
from zoo_factory import make_entry

FILLERS = ["holes", "blobs", "fashion", "digits-mlp"]  # one pass, and by search: unconditional, with classes, grey
SEARCHERS = FILLERS[1:]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """With a model that learned to fill holes, and one of each family that draws from latents."""
    zoo = tmp_path_factory.mktemp("holes") / "zoo"
    for name, family in zip(FILLERS, ["inpaint", "dcgan", "conditional", "mlp"], strict=True):
        make_entry(zoo, name, family)
    make_entry(zoo, "photo-x4", "srgan")
    server = start_server(zoo, GANYMEDE_MAX_PIXELS=str(2**17))
    server.wait_until_ready()
    return server


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> httpx2.Client:
    return server.client


def file_of(pixels: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> np.ndarray[Any, Any]:
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 4), np.uint8)
    pixels[:, :, 3] |= 1  # no pixel wholly transparent, so that none has to have a colour
    return np.asarray(Image.fromarray(pixels, "RGBA").convert(mode))


def hole_in(width: int, height: int) -> np.ndarray[Any, Any]:
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : max(height // 4 + 1, height * 3 // 4), width // 3 : max(width // 3 + 1, width * 2 // 3)] = 255
    return mask


def decoded(image: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64"]))))


def inpaint(client: httpx2.Client, image: bytes, mask: bytes, **fields: Any) -> httpx2.Response:
    return client.post("/v1/inpaint", files={"image": ("a.png", image), "mask": ("m.png", mask)}, data=fields)


@pytest.mark.parametrize("model", FILLERS)
@pytest.mark.parametrize(
    ("size", "mode", "fit"),
    [
        ((1, 1), "RGB", "resize"),
        ((16, 16), "RGBA", "resize"),
        ((40, 23), "L", "pad"),
        ((9, 70), "LA", "resize"),
        ((101, 90), "RGB", "pad"),
    ],
)
def test_what_is_known_comes_back_unchanged(
    client: httpx2.Client, model: str, size: tuple[int, int], mode: str, fit: str
) -> None:
    given, mask = noise(*size, mode), hole_in(*size)
    answer = inpaint(client, file_of(given), file_of(mask), model=model, seed="3", n="2", fit=fit)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], answer.headers["X-Model"], answer.headers["X-Seed"]) == (model, model, "3")
    assert [image["seed"] for image in body["images"]] == [3, 4]
    ways = [decoded(image) for image in body["images"]]
    for way in ways:
        assert way.shape == given.shape
        assert np.array_equal(way[mask == 0], given[mask == 0])
        if mode.endswith("A"):
            assert (way[mask > 0][:, -1] == 255).all()  # what is filled in is opaque
    apart = decoded(body["disagreement"])
    assert apart.shape == mask.shape
    assert (apart[mask == 0] == 0).all()
    assert size == (1, 1) or not np.array_equal(ways[0], ways[1])


@pytest.mark.parametrize("model", FILLERS)
def test_a_fill_is_of_its_seed_alone(client: httpx2.Client, model: str) -> None:
    image, mask = file_of(noise(20, 20)), file_of(hole_in(20, 20))
    label = {"label": "0"} if model == "fashion" else {}

    def fill(seed: int, n: int = 1) -> list[str]:
        answer = inpaint(client, image, mask, model=model, seed=str(seed), n=str(n), **label)
        return [image["b64"] for image in answer.json()["images"]]

    four = fill(5, 4)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: fill(5 + i)[0], range(4))) == four


@pytest.mark.parametrize("model", FILLERS)
def test_what_lies_under_the_mask_does_not_matter(client: httpx2.Client, model: str) -> None:
    given, mask = noise(24, 20), hole_in(24, 20)
    other = np.where(mask[:, :, None] > 0, np.uint8(0), given)
    a, b = (
        inpaint(client, file_of(x), file_of(mask), model=model, seed="1").json()["images"][0]["b64"] for x in (given, other)
    )
    assert a == b


def test_a_mask_may_be_transparent_instead_of_white(client: httpx2.Client) -> None:
    given, mask = noise(16, 16), hole_in(16, 16)
    window = np.dstack([np.zeros((16, 16, 3), np.uint8), 255 - mask])
    answers = [inpaint(client, file_of(given), file_of(m), model="holes", seed="1") for m in (mask, window)]
    assert answers[0].json()["images"] == answers[1].json()["images"]


def test_the_default_fills_in_one_pass_and_pictures_come_in_any_format(client: httpx2.Client) -> None:
    image, mask = file_of(noise(16, 16)), file_of(hole_in(16, 16))
    files = {"image": ("a.png", image), "mask": ("m.png", mask)}
    one = client.post("/v1/inpaint", files=files, data={"seed": "2"}, headers={"Accept": "image/png"})
    assert (one.headers["content-type"], one.headers["X-Model"]) == ("image/png", "holes")
    many = client.post("/v1/inpaint?format=npy", files=files, data={"seed": "2", "n": "3"})
    array = np.load(io.BytesIO(many.content))
    assert array.shape == (3, 16, 16, 3)
    assert np.array_equal(array[0], np.asarray(Image.open(io.BytesIO(one.content))))
    body = {"image": base64.b64encode(image).decode(), "mask": base64.b64encode(mask).decode(), "seed": 2}
    alone = client.post("/v1/inpaint", json=body).json()
    assert alone["disagreement"] is None
    assert base64.b64decode(alone["images"][0]["b64"]) == one.content
    random = inpaint(client, image, mask)
    again = inpaint(client, image, mask, seed=random.headers["X-Seed"])
    assert again.json()["images"] == random.json()["images"]


@pytest.mark.parametrize("model", SEARCHERS)
def test_a_models_own_picture_is_found_again(client: httpx2.Client, model: str) -> None:
    label = {"label": "trouser"} if model == "fashion" else {}
    path = "/v1/generate" if label else "/v1/sample"
    drawn = client.post(path, json={"model": model, "seed": 4, **label}, headers={"Accept": "image/png"}).content
    found = client.post("/v1/project", files={"image": ("a.png", drawn)}, data={"model": model, **label})
    assert found.status_code == 200, found.text
    body = found.json()
    start = client.post(path, json={"model": model, "truncation": 0, **label}).json()["images"][0]
    away = (decoded(start).astype(float) - np.asarray(Image.open(io.BytesIO(drawn)))) / 255
    assert 0 <= body["distance"] < 0.8 * np.sqrt(np.square(away).mean())
    assert (body["label"], body["label_name"]) == ((1, "Trouser") if label else (None, None))
    again = client.post(path, json={"model": model, "z": [body["z"]], **label}).json()["images"][0]
    assert np.array_equal(decoded(again), decoded(body["image"]))
    frames = [{"z": body["z"], **label}, {"seed": 9, **label}]
    walk = client.post("/v1/interpolate", json={"model": model, "keyframes": frames, "steps": 2})
    assert np.array_equal(decoded(walk.json()["images"][0]), decoded(body["image"]))


def test_a_search_finds_the_class_too(client: httpx2.Client) -> None:
    drawn = client.post(
        "/v1/generate", json={"seed": 4, "label": 2, "model": "fashion"}, headers={"Accept": "image/png"}
    ).content
    free = client.post("/v1/project", files={"image": ("a.png", drawn)}, data={"model": "fashion"}).json()
    assert free["label"] in (0, 1, 2)
    told = client.post("/v1/project", files={"image": ("a.png", drawn)}, data={"model": "fashion", "label": str(free["label"])})
    assert told.json()["z"] == free["z"]


@pytest.mark.parametrize("model", SEARCHERS)
def test_scores_are_of_each_picture_alone(client: httpx2.Client, model: str) -> None:
    images = [file_of(noise(10 + i, 20)) for i in range(5)]
    label = {"label": "0"} if model == "fashion" else {}

    def scores(*sent: bytes) -> list[float]:
        answer = client.post("/v1/discriminate", files=[("image", ("a.png", i)) for i in sent], data={"model": model, **label})
        assert answer.status_code == 200, answer.text
        found: list[float] = answer.json()["scores"]
        return found

    together = scores(*images)
    assert len(set(together)) == 5
    assert [scores(image)[0] for image in images] == together
    as_json = {"model": model, "image": [base64.b64encode(i).decode() for i in images], **({"label": 0} if label else {})}
    assert client.post("/v1/discriminate", json=as_json).json()["scores"] == together


def test_labels_one_a_picture(client: httpx2.Client) -> None:
    image = base64.b64encode(file_of(noise(16, 16))).decode()
    body = {"model": "fashion", "image": [image] * 3}
    each = client.post("/v1/discriminate", json=body | {"label": ["T-shirt", 1, "ankle boot"]}).json()["scores"]
    assert [client.post("/v1/discriminate", json=body | {"label": i}).json()["scores"][0] for i in range(3)] == each


@pytest.mark.parametrize(
    ("path", "fields", "status", "slug", "told"),
    [
        ("/v1/project", {"model": "holes"}, 409, "wrong-task", "POST /v1/inpaint"),
        ("/v1/project", {"model": "photo-x4"}, 409, "wrong-task", "POST /v1/upscale"),
        ("/v1/discriminate", {"model": "photo-x4"}, 409, "wrong-task", "POST /v1/upscale"),
        ("/v1/discriminate", {"model": "fashion"}, 422, "invalid-request", "label"),
        ("/v1/discriminate", {"model": "blobs", "label": "0"}, 422, "unknown-label", "no label"),
        ("/v1/project", {"model": "fashion", "label": "hat"}, 422, "unknown-label", "Trouser"),
        ("/v1/project", {"fit": "tile"}, 422, "invalid-request", "fit"),
        ("/v1/project", {"mask": "x"}, 422, "invalid-request", "mask"),
        ("/v1/inpaint", {}, 422, "invalid-request", "mask"),
    ],
)
def test_what_can_not_be_done_is_told(
    client: httpx2.Client, path: str, fields: dict[str, str], status: int, slug: str, told: str
) -> None:
    problem = client.post(path, files={"image": ("a.png", file_of(noise(8, 8)))}, data=fields)
    assert (problem.status_code, problem.json()["type"]) == (status, slug), problem.text
    assert told in problem.text


@pytest.mark.parametrize(
    ("fields", "status", "slug", "told"),
    [
        ({"n": "17"}, 422, "invalid-request", "n"),
        ({"n": "0"}, 422, "invalid-request", "n"),
        ({"seed": "-1"}, 422, "invalid-request", "seed"),
        ({"seed": str(2**63)}, 422, "invalid-request", "seed"),
        ({"model": "holes", "label": "0"}, 422, "unknown-label", "no label"),
        ({"model": "photo-x4"}, 409, "wrong-task", "POST /v1/upscale"),
    ],
)
def test_holes_that_can_not_be_filled(client: httpx2.Client, fields: dict[str, str], status: int, slug: str, told: str) -> None:
    problem = inpaint(client, file_of(noise(8, 8)), file_of(hole_in(8, 8)), **fields)
    assert (problem.status_code, problem.json()["type"]) == (status, slug), problem.text
    assert told in problem.text


def test_masks_that_do_not_fit_are_refused(client: httpx2.Client) -> None:
    image = file_of(noise(30, 20))
    wrong = inpaint(client, image, file_of(hole_in(20, 30)))
    assert (wrong.status_code, wrong.json()["type"]) == (422, "invalid-request")
    assert "30x20" in wrong.text and "20x30" in wrong.text
    broken = inpaint(client, image, file_of(hole_in(30, 20))[:-30])
    assert (broken.status_code, broken.json()["type"]) == (422, "bad-image")
    assert "mask" in broken.json()["detail"]
    large = noise(300, 300)
    too_many = inpaint(client, file_of(large), file_of(hole_in(300, 300)))
    assert (too_many.status_code, too_many.json()["type"]) == (413, "image-too-large")  # both together
    wide = inpaint(client, file_of(noise(200, 200)), file_of(hole_in(200, 200)), n="16")
    assert (wide.status_code, wide.json()["type"]) == (413, "image-too-large")
    assert "at most 3" in wide.text


def test_json_is_all_that_is_said_of_latents_and_scores(client: httpx2.Client) -> None:
    for path in ("/v1/project", "/v1/discriminate"):
        files = {"image": ("a.png", file_of(noise(8, 8)))}
        problem = client.post(path, files=files, headers={"Accept": "image/png"})
        assert (problem.status_code, problem.json()["type"]) == (406, "not-acceptable")


def test_models_say_that_they_can(client: httpx2.Client) -> None:
    def endpoints(name: str) -> list[str]:
        of: list[str] = client.get(f"/v1/models/{name}").json()["endpoints"]
        return of

    assert endpoints("holes") == ["POST /v1/inpaint"]
    assert {"POST /v1/sample", "POST /v1/inpaint", "POST /v1/project", "POST /v1/discriminate"} <= set(endpoints("blobs"))


def test_a_search_survives_its_version_being_removed_between_requests(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    """The networks for a search are read when they are asked for first: a version that is gone by then is a clear error."""
    zoo = tmp_path / "zoo"
    folder = make_entry(zoo, "blobs", "dcgan")
    server = start_server(zoo, GANYMEDE_RESCAN_SECONDS="3600")
    server.wait_until_ready()
    (folder / "weights.safetensors").write_bytes(b"cut off")
    answer = server.client.post("/v1/project", files={"image": ("a.png", file_of(noise(8, 8)))})
    assert (answer.status_code, answer.json()["type"]) == (503, "model-unavailable"), answer.text
    assert "weights.safetensors" in answer.text
    assert server.client.post("/v1/sample", json={"seed": 1}).status_code == 200
