"""What callers rely on: the same picture for the same request, in every format, over a real socket."""

import base64
import csv
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from models.latents import MAX_SEED, latents


def post(client: httpx2.Client, path: str, accept: str | None = None, **body: Any) -> httpx2.Response:
    response = client.post(path, json=body, headers={"Accept": accept} if accept else {})
    assert response.status_code == 200, response.text
    return response


def decoded(response: httpx2.Response) -> list[bytes]:
    return [base64.b64decode(image["b64"]) for image in response.json()["images"]]


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_json_has_every_field_of_the_contract(client: httpx2.Client) -> None:
    body = post(client, "/v1/generate", n=2, seed=5, label="trouser").json()
    assert set(body) == {"model", "version", "created", "images", "timing_ms"}
    assert (body["model"], body["version"]) == ("fashion", 1)
    assert set(body["timing_ms"]) == {"queue", "inference", "encode"}
    assert [i["seed"] for i in body["images"]] == [5, 6]
    for image in body["images"]:
        assert set(image) == {"b64", "media_type", "seed", "label", "label_name", "width", "height"}
        assert (image["label"], image["label_name"]) == (1, "Trouser")
        assert picture(base64.b64decode(image["b64"])).size == (image["width"], image["height"]) == (16, 16)


def test_unconditional_pictures_have_no_label(client: httpx2.Client) -> None:
    image = post(client, "/v1/sample", model="blobs", seed=1).json()["images"][0]
    assert image["label"] is None and image["label_name"] is None
    assert "ganymede:label" not in picture(base64.b64decode(image["b64"])).text


def test_a_seed_means_the_same_picture_alone_and_in_company(client: httpx2.Client) -> None:
    together = decoded(post(client, "/v1/generate", n=64, seed=100, label=2))
    for i in (0, 1, 5, 63):
        assert decoded(post(client, "/v1/generate", seed=100 + i, label=2)) == [together[i]]


def test_pictures_do_not_depend_on_load(client: httpx2.Client) -> None:
    alone = {(m, p): decoded(post(client, p, model=m, seed=7, n=5)) for m, p in
             (("fashion", "/v1/generate"), ("blobs", "/v1/sample"), ("digits-mlp", "/v1/sample"))}  # fmt: skip

    def again(i: int) -> bool:
        (model, path), expected = list(alone.items())[i % 3]
        return decoded(post(client, path, model=model, seed=7, n=5)) == expected

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(again, range(60)))


def test_explicit_latents_draw_the_picture_of_their_seed(client: httpx2.Client) -> None:
    z = latents([11, 12], 8).tolist()
    by_z = post(client, "/v1/sample", "application/x-npy", model="blobs", z=z).content
    by_seed = post(client, "/v1/sample", "application/x-npy", model="blobs", seed=11, n=2).content
    assert by_z == by_seed


def test_the_largest_seeds_survive_json(client: httpx2.Client) -> None:
    response = post(client, "/v1/generate", seed=MAX_SEED - 1, n=2, label=0)
    assert [i["seed"] for i in response.json()["images"]] == [MAX_SEED - 1, MAX_SEED]
    first, second = decoded(response)
    assert picture(first).tobytes() != picture(second).tobytes()


def test_without_a_seed_the_caller_is_told_which(client: httpx2.Client) -> None:
    responses = [post(client, "/v1/generate", "image/png", label=0) for _ in range(2)]
    seeds = [int(r.headers["x-seed"]) for r in responses]
    assert seeds[0] != seeds[1]
    assert post(client, "/v1/generate", "image/png", label=0, seed=seeds[0]).content == responses[0].content


def test_labels_cycle_through_the_classes_when_none_is_given(client: httpx2.Client) -> None:
    images = post(client, "/v1/generate", n=7, seed=1).json()["images"]
    assert [i["label"] for i in images] == [0, 1, 2, 0, 1, 2, 0]


def test_one_label_a_picture(client: httpx2.Client) -> None:
    images = post(client, "/v1/generate", labels=["ANKLE BOOT", 0, "1"], seed=1).json()["images"]
    assert [i["label_name"] for i in images] == ["Ankle boot", "T-shirt", "Trouser"]


def test_truncation_zero_is_the_mean_picture_whatever_the_seed(client: httpx2.Client) -> None:
    images = np.load(io.BytesIO(post(client, "/v1/sample", "application/x-npy", model="blobs", n=3, truncation=0).content))
    assert (images[0] == images[1]).all() and (images[0] == images[2]).all()


def test_a_label_changes_the_picture(client: httpx2.Client) -> None:
    one, other = (post(client, "/v1/generate", "application/x-npy", seed=1, label=k).content for k in (0, 1))
    assert one != other


@pytest.mark.parametrize(("accept", "kind"), [("image/png", "PNG"), ("image/webp", "WEBP"), ("image/jpeg", "JPEG")])
def test_one_picture_or_a_contact_sheet(client: httpx2.Client, accept: str, kind: str) -> None:
    one = post(client, "/v1/sample", accept, model="blobs", seed=1)
    assert one.headers["content-type"] == accept
    image = picture(one.content)
    assert (image.format, image.size, image.mode) == (kind, (16, 16), "RGB")
    sheet = picture(post(client, "/v1/sample", accept, model="blobs", seed=1, n=5).content)
    assert sheet.size == (3 * 16 + 2 * 2, 2 * 16 + 2)


def test_lossless_formats_hold_the_same_pixels(client: httpx2.Client) -> None:
    png, webp, npy = (
        post(client, "/v1/sample", accept, model="blobs", seed=3).content
        for accept in ("image/png", "image/webp", "application/x-npy")
    )
    pixels = np.load(io.BytesIO(npy))
    assert pixels.shape == (1, 16, 16, 3) and pixels.dtype == np.uint8
    assert (np.asarray(picture(png)) == pixels[0]).all()
    assert (np.asarray(picture(webp)) == pixels[0]).all()


def test_a_png_says_where_it_came_from(client: httpx2.Client) -> None:
    texts = picture(post(client, "/v1/generate", "image/png", seed=9, label=2).content).text
    assert texts["ganymede:model"] == "fashion"
    assert texts["ganymede:version"] == "1"
    assert texts["ganymede:seed"] == "9"
    assert texts["ganymede:label"] == "Ankle boot"
    assert any("synthetic image" in text for text in texts.values())


def test_a_zip_is_an_imagefolder(client: httpx2.Client) -> None:
    response = post(client, "/v1/generate", "application/zip", seed=20, n=4)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        rows = list(csv.DictReader(io.StringIO(archive.read("metadata.csv").decode())))
        assert sorted(archive.namelist()) == sorted([r["file_name"] for r in rows] + ["metadata.csv"])
        assert [r["label"] for r in rows] == ["T-shirt", "Trouser", "Ankle boot", "T-shirt"]
        assert [r["seed"] for r in rows] == ["20", "21", "22", "23"]
        alone = post(client, "/v1/generate", "image/png", seed=21, label="Trouser").content
        assert archive.read(rows[1]["file_name"]) == alone


KEYFRAMES = [{"seed": 1, "label": 0}, {"seed": 2, "label": 2}, {"seed": 3, "label": 2}]


@pytest.mark.parametrize(("loop", "frames"), [(False, 9), (True, 12)])
def test_interpolation_passes_through_its_keyframes(client: httpx2.Client, loop: bool, frames: int) -> None:
    response = post(client, "/v1/interpolate", keyframes=KEYFRAMES, steps=4, loop=loop)
    images = response.json()["images"]
    assert len(images) == frames
    pixels = [picture(data).tobytes() for data in decoded(response)]
    for k, keyframe in enumerate(KEYFRAMES):
        alone = decoded(post(client, "/v1/generate", seed=keyframe["seed"], label=keyframe["label"]))[0]
        assert pixels[4 * k] == picture(alone).tobytes()
        assert images[4 * k]["seed"] == keyframe["seed"]
    assert len(set(pixels)) == frames  # every frame moves
    assert images[1]["label"] is None and images[5]["label"] == 2


@pytest.mark.parametrize(("accept", "kind"), [("image/gif", "GIF"), ("image/webp", "WEBP")])
def test_interpolation_as_a_film(client: httpx2.Client, accept: str, kind: str) -> None:
    response = post(client, "/v1/interpolate", accept, keyframes=[{"seed": 1}, {"seed": 2}], steps=10, fps=10)
    film = Image.open(io.BytesIO(response.content))
    assert film.format == kind and film.n_frames == 11
    assert film.info["loop"] == 0
    total = 0
    for i in range(film.n_frames):
        film.seek(i)
        film.load()
        total += film.info["duration"]
    assert total == 1100


def test_interpolation_methods_differ_between_keyframes_only(client: httpx2.Client) -> None:
    body = {"model": "blobs", "keyframes": [{"seed": 1}, {"seed": 2}], "steps": 4}
    slerp, lerp = (
        np.load(io.BytesIO(post(client, "/v1/interpolate", "application/x-npy", **body, method=m).content))
        for m in ("slerp", "lerp")
    )
    assert slerp.shape == (5, 16, 16, 3)
    assert (slerp[0] == lerp[0]).all() and (slerp[-1] == lerp[-1]).all()
    assert (slerp[2] != lerp[2]).any()


def test_arithmetic_of_one_seed_is_that_seed(client: httpx2.Client) -> None:
    one = post(client, "/v1/arithmetic", "application/x-npy", model="blobs", terms=[{"weight": 1, "seeds": [4]}])
    plain = post(client, "/v1/sample", "application/x-npy", model="blobs", seed=4)
    assert one.content == plain.content


def test_arithmetic_adds_and_takes_away(client: httpx2.Client) -> None:
    terms = [{"weight": 1, "seeds": [4]}, {"weight": 1, "seeds": [5, 6]}, {"weight": -1.0, "seeds": [6, 5]}]
    sum_ = post(client, "/v1/arithmetic", "application/x-npy", terms=terms, label="trouser")
    plain = post(client, "/v1/generate", "application/x-npy", seed=4, label="trouser")
    assert sum_.content == plain.content


def test_a_picture_by_address_equals_the_generated_one(client: httpx2.Client) -> None:
    response = client.get("/v1/images/fashion/7.png", params={"label": "trouser", "truncation": 0.5})
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-seed"] == "7"
    generated = post(client, "/v1/generate", "image/png", seed=7, label=1, truncation=0.5)
    assert response.content == generated.content


@pytest.mark.parametrize(("extension", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpg", "JPEG")])
def test_a_picture_by_address_in_every_format(client: httpx2.Client, extension: str, kind: str) -> None:
    for model in ("blobs", "blobs@1"):
        response = client.get(f"/v1/images/{model}/7.{extension}")
        assert picture(response.content).format == kind


def test_an_etag_is_strong_stable_and_saves_the_body(client: httpx2.Client) -> None:
    first = client.get("/v1/images/fashion/7.png?label=1")
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert client.get("/v1/images/fashion/7.png?label=Trouser").headers["etag"] == tag  # the same bytes
    for other in ("8.png?label=1", "7.png?label=2", "7.webp?label=1", "7.png?label=1&truncation=0.5"):
        assert client.get(f"/v1/images/fashion/{other}").headers["etag"] != tag
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = client.get("/v1/images/fashion/7.png?label=1", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get("/v1/images/fashion/7.png?label=1", headers={"If-None-Match": '"other"'}).status_code == 200


def test_head_gives_the_headers_of_get(client: httpx2.Client) -> None:
    get, head = (client.request(m, "/v1/images/blobs/7.png") for m in ("GET", "HEAD"))
    assert head.status_code == 200 and head.content == b""
    for name in ("etag", "content-length", "content-type", "cache-control"):
        assert head.headers[name] == get.headers[name]


def test_the_format_can_be_chosen_in_the_address(client: httpx2.Client) -> None:
    response = client.post("/v1/sample?format=PNG", json={"model": "blobs", "seed": 1}, headers={"Accept": "application/json"})
    assert response.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/json"),
        ("image/*", "image/png"),
        ("image/webp;q=0.5, image/jpeg;q=0.9", "image/jpeg"),
        ("image/*;q=0.9, image/png;q=0", "image/webp"),
        ("text/html, application/xhtml+xml, image/webp, */*;q=0.8", "image/webp"),
        ("image/jpeg, image/png", "image/jpeg"),
    ],
)
def test_accept_is_weighed_by_q(client: httpx2.Client, accept: str, expected: str) -> None:
    assert post(client, "/v1/sample", accept, model="blobs").headers["content-type"] == expected


def test_the_default_model_gives_way_where_it_does_not_fit(client: httpx2.Client) -> None:
    assert post(client, "/v1/generate").headers["x-model"] == "fashion"
    response = post(client, "/v1/sample")
    assert (response.headers["x-model"], response.headers["x-model-version"]) == ("blobs", "1")
