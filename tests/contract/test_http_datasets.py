"""What people who order data sets rely on, over a real socket; files are read by the libraries that they are for."""

import contextlib
import hashlib
import io
import json
import random
import re
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import httpx2
import numpy as np
import pytest
import webdataset
from PIL import Image
from server_process import ServerProcess
from zoo_factory import make_entry

KILLS = 10
LABELS = ["T-shirt", "Trouser", "Ankle boot"]
FORMATS = ["imagefolder", "webdataset", "parquet", "idx", "npz"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., ServerProcess]) -> ServerProcess:
    folder = tmp_path_factory.mktemp("datasets")
    make_entry(folder / "zoo", "fashion", "conditional")
    make_entry(folder / "zoo", "blobs", "dcgan")
    make_entry(folder / "zoo", "facades", "pix2pix")
    make_entry(folder / "zoo", "proved", "conditional", proved=True)
    settings = {"MAX_DATASET_PICTURES": "50000", "STORAGE_DIR": str(folder / "storage"), "USEFULNESS_PICTURES": "640"}
    server = start_server(folder / "zoo", **{f"GANYMEDE_{name}": value for name, value in settings.items()})
    server.wait_until_ready()
    return server


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> httpx2.Client:
    return server.client


def order(client: httpx2.Client, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/datasets", json={"model": "fashion", "seed": 5, **body})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    assert response.headers["Location"] == f"/v1/datasets/{job['id']}"
    return job


def events(client: httpx2.Client, identifier: str) -> Iterator[dict[str, Any]]:
    with client.stream("GET", f"/v1/datasets/{identifier}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


def made(client: httpx2.Client, **body: Any) -> dict[str, Any]:
    """An order, waited for."""
    last = list(events(client, order(client, **body)["id"]))[-1]
    assert last["status"] == "succeeded", last
    return last


def fetch(client: httpx2.Client, job: dict[str, Any], folder: Path) -> Path:
    """All its files, checked against their hashes."""
    folder.mkdir(parents=True)
    for file in job["files"]:
        data = client.get(f"/v1/datasets/{job['id']}/files/{file['name']}").content
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        (folder / file["name"]).write_bytes(data)
    return folder


def expected(client: httpx2.Client, seed: int, label: int) -> np.ndarray[Any, Any]:
    """The picture of a seed, as any other request gets it."""
    png = client.get(f"/v1/images/fashion/{seed}.png", params={"label": label}).content
    return np.asarray(Image.open(io.BytesIO(png)))


COUNTS = {"trouser": 7, "2": 4, "T-shirt": 9}
ASKED = {"counts": COUNTS, "shard_size": 8, "split": {"train": 0.75, "test": 0.25}}


@pytest.fixture(scope="module")
def jobs(client: httpx2.Client) -> dict[str, dict[str, Any]]:
    return {name: made(client, format=name, **ASKED) for name in FORMATS}


def test_a_finished_job_tells_all(client: httpx2.Client, jobs: dict[str, dict[str, Any]]) -> None:
    job = jobs["parquet"]
    assert (job["done"], job["total"], job["error"], job["eta_seconds"]) == (20, 20, None, None)
    assert job["report"]["synthetic"] is True
    assert [(x["name"], x["pictures"]) for x in job["report"]["labels"]] == list(zip(LABELS, (9, 7, 4), strict=True))
    assert job["report"]["splits"] == {"train": 15, "test": 5}
    assert client.get(f"/v1/datasets/{job['id']}").json() == job
    listed = client.get("/v1/datasets").json()
    assert listed["object"] == "list" and job in listed["data"]
    sheet = client.get(f"/v1/datasets/{job['id']}/files/README.md").text
    for told in ("synthetic", "T-shirt | 9", "seed 5 + i", "Apache-2.0", "drawn for this test"):
        assert told in sheet


def test_parquet_is_read_by_datasets(client: httpx2.Client, jobs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    folder = fetch(client, jobs["parquet"], tmp_path / "parquet")
    files = {split: str(folder / f"{split}-*.parquet") for split in ("train", "test")}
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 15, "test": 5}
    assert found["train"].features["label"].names == LABELS
    rows = [*found["train"], *found["test"]]
    assert [row["seed"] for row in rows] == list(range(5, 25))
    assert Counter(row["label"] for row in rows) == {0: 9, 1: 7, 2: 4}
    for row in rows[::7]:
        assert np.array_equal(np.asarray(row["image"]), expected(client, row["seed"], row["label"]))


def test_imagefolder_is_read_by_datasets(client: httpx2.Client, jobs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    folder = fetch(client, jobs["imagefolder"], tmp_path / "imagefolder")
    files = {split: str(folder / f"{split}-*.zip") for split in ("train", "test")}
    found = datasets.load_dataset("imagefolder", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 15, "test": 5}
    rows = [row for split in found.values() for row in split]
    assert Counter(row["label"] for row in rows) == {"T-shirt": 9, "Trouser": 7, "Ankle boot": 4}
    for row in rows[::7]:
        picture = np.asarray(row["image"].convert("L"))
        assert np.array_equal(picture, expected(client, row["seed"], LABELS.index(row["label"])))
    with zipfile.ZipFile(next(folder.glob("train-00000-*.zip"))) as archive:
        folders = {Path(name).parent.name for name in archive.namelist() if name.endswith(".png")}
    assert folders <= set(LABELS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its files open
def test_webdataset_is_read_by_webdataset(client: httpx2.Client, jobs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    folder = fetch(client, jobs["webdataset"], tmp_path / "webdataset")
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    assert len(urls) == 3
    rows = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("png", "cls", "json"))
    assert Counter(label for _, label, _ in rows) == {0: 9, 1: 7, 2: 4}
    for picture, label, about in rows[::7]:
        assert about["label"] == LABELS[label]
        assert np.array_equal(np.asarray(picture.convert("L")), expected(client, about["seed"], label))


def read_idx(data: bytes) -> np.ndarray[Any, Any]:
    """As the format's page describes it."""
    assert data[:3] == b"\0\0\x08"
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def test_idx_and_npz_hold_the_same(client: httpx2.Client, jobs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    idx, npz = (fetch(client, jobs[name], tmp_path / name) for name in ("idx", "npz"))
    for split, number in (("train", 0), ("train", 1)):
        arrays = np.load(npz / f"{split}-{number:05d}-of-00002.npz")
        stem = f"{split}-{number:05d}-of-00002"
        images, labels = (read_idx((idx / f"{stem}-{what}-ubyte").read_bytes()) for what in ("images-idx3", "labels-idx1"))
        assert np.array_equal(images[..., None], arrays["images"]) and np.array_equal(labels, arrays["labels"])
        assert arrays["label_names"].tolist() == LABELS
        assert np.array_equal(images[0], expected(client, int(arrays["seeds"][0]), int(labels[0])))
    assert (idx / "t10k-images-idx3-ubyte").exists()  # one shard: as MNIST calls it


def test_the_same_order_gives_the_same_bytes(client: httpx2.Client, jobs: dict[str, dict[str, Any]]) -> None:
    for name in FORMATS:
        again = made(client, format=name, name="again", **ASKED)
        assert again["files"] == jobs[name]["files"]
        downloads = [client.get(f"/v1/datasets/{job['id']}/download").content for job in (again, jobs[name])]
        assert downloads[0] == downloads[1]
        with zipfile.ZipFile(io.BytesIO(downloads[0])) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == [file["name"] for file in again["files"]]


def test_a_report_tells_what_is_known_of_the_pictures(client: httpx2.Client) -> None:
    job = made(client, model="proved", per_class=40, filter={"max_similarity": 0.99})
    report = job["report"]
    assert report["label_warranty"]["judged"] == 120 and report["memorisation"]["compared"] == 120
    assert report["label_warranty"]["label_error"] < report["label_warranty"]["upper_95"] <= 1
    assert report["filter"]["max_similarity"] == 0.99 and report["usefulness"] is None
    names = [file["name"] for file in job["files"]]
    assert names[:5] == ["README.md", "REPORT.md", "report.json", "classes.png", "confusion.png"]
    assert client.get(f"/v1/datasets/{job['id']}/files/report.json").json() == report
    text = client.get(f"/v1/datasets/{job['id']}/files/REPORT.md").text
    assert "of 120 labels" in text and "![" in text and "It was not measured" in text
    for name in ("classes.png", "confusion.png"):
        picture = Image.open(io.BytesIO(client.get(f"/v1/datasets/{job['id']}/files/{name}").content))
        assert len(picture.getcolors(2**16) or ()) > 2


def test_usefulness_is_measured_on_the_models_real_pictures(client: httpx2.Client) -> None:
    job = made(client, model="proved", per_class=10, format="npz", measure_usefulness=True)
    found = job["report"]["usefulness"]
    assert found["real_pictures_of"] == "model" and found["ways"]["real"]["pictures"] == 60
    assert found["ways"]["real_and_synthetic"]["pictures"] == 90
    for way in found["ways"].values():
        assert 0 <= way["accuracy"] <= 1 and len(way["accuracies"]) == 3 and len(way["recall"]) == 3
    assert found["worth"]["is"] in ("about", "at least", "less than")
    assert "usefulness.png" in [file["name"] for file in job["files"]]
    again = made(client, model="proved", per_class=10, format="npz", measure_usefulness=True)
    assert again["files"] == job["files"]


def test_usefulness_is_measured_on_pictures_that_are_sent(client: httpx2.Client, jobs: dict[str, dict[str, Any]]) -> None:
    """Of a model that came without any. The data set itself stays as it is."""
    job = jobs["webdataset"]
    path = f"/v1/datasets/{job['id']}/report"
    missing = client.post(path)
    assert (missing.status_code, missing.json()["type"]) == (422, "invalid-request") and "zip of class folders" in missing.text
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        for label, name in enumerate(LABELS):
            for i in range(6):
                out.writestr(f"{name}/{i}.png", client.get(f"/v1/images/fashion/{i}.png", params={"label": label}).content)
    response = client.post(path, files={"real": ("mine.zip", archive.getvalue(), "application/zip")})
    assert response.status_code == 202, response.text
    last = list(events(client, job["id"]))[-1]
    assert last["status"] == "succeeded" and last["report"]["usefulness"]["real_pictures_of"] == "caller"
    assert last["report"]["usefulness"]["ways"]["real"]["pictures"] == 9
    assert [f for f in last["files"] if f["name"].endswith(".tar")] == [f for f in job["files"] if f["name"].endswith(".tar")]
    with zipfile.ZipFile(io.BytesIO(client.get(f"/v1/datasets/{job['id']}/download").content)) as whole:
        assert "usefulness.png" in whole.namelist()


def test_models_without_classes_and_colour(client: httpx2.Client, tmp_path: Path) -> None:
    job = made(client, model="blobs", per_class=5, format="idx", truncation=0.5)
    folder = fetch(client, job, tmp_path / "blobs")
    assert read_idx((folder / "train-images-idx4-ubyte").read_bytes()).shape == (5, 16, 16, 3)
    assert job["report"]["labels"] == [{"index": 0, "name": None, "folder": "pictures", "pictures": 5}]


def test_files_come_in_parts(client: httpx2.Client, jobs: dict[str, dict[str, Any]]) -> None:
    job = jobs["npz"]
    name = job["files"][-1]["name"]
    path = f"/v1/datasets/{job['id']}/files/{name}"
    whole = client.get(path)
    tag = whole.headers["ETag"]
    assert tag == f'"{job["files"][-1]["sha256"]}"' and whole.headers["Accept-Ranges"] == "bytes"
    size = len(whole.content)
    for asked, start, stop in (
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=5-{size + 50}", 5, size),
    ):
        part = client.get(path, headers={"Range": asked})
        assert (part.status_code, part.headers["Content-Range"]) == (206, f"bytes {start}-{stop - 1}/{size}")
        assert part.content == whole.content[start:stop]
    beyond = client.get(path, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert client.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).content == whole.content
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    for odd in ("bytes=9-5", "bytes=0-1,4-5", "lines=0-1", "bytes=-", "nonsense"):
        assert client.get(path, headers={"Range": odd}).content == whole.content
    head = client.head(path)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(size), b"")


@pytest.mark.parametrize(
    ("body", "status", "slug", "told"),
    [
        ({}, 422, "invalid-request", "per_class"),
        ({"counts": {"trouser": 1}, "per_class": 1}, 422, "invalid-request", "either"),
        ({"counts": {"hat": 1}}, 422, "unknown-label", "Trouser"),
        ({"counts": {"trouser": 1, "1": 2}}, 422, "invalid-request", "already"),
        ({"counts": {"trouser": -1}}, 422, "invalid-request", "trouser"),
        ({"counts": {"trouser": 0}}, 422, "invalid-request", "1 to 50000"),
        ({"per_class": 20_000}, 422, "invalid-request", "60000"),
        ({"per_class": 1, "format": "csv"}, 422, "invalid-request", "format"),
        ({"per_class": 1, "split": {"train": 0.5}}, 422, "invalid-request", "add up"),
        ({"per_class": 1, "split": {"../x": 1.0}}, 422, "invalid-request", "split"),
        ({"per_class": 1, "seed": 2**63 - 2}, 422, "invalid-request", "seed"),
        ({"per_class": 1, "shard_size": 0}, 422, "invalid-request", "shard_size"),
        ({"per_class": 1, "colour": "red"}, 422, "invalid-request", "colour"),
        ({"per_class": 1, "filter": {"min_confidence": 0.9}}, 422, "invalid-request", "without a classifier"),
        ({"per_class": 1, "filter": {"max_similarity": 0.9}}, 422, "invalid-request", "without an index"),
        ({"per_class": 1, "filter": {"min_confidence": 1.5}}, 422, "invalid-request", "min_confidence"),
        ({"per_class": 1, "filter": {"max_confidence": 0.9}}, 422, "invalid-request", "without a classifier"),
        ({"per_class": 1, "filter": {"min_confidence": 0.9, "max_confidence": 0.8}}, 422, "invalid-request", "no picture"),
        ({"per_class": 1, "filter": {"sharp": 1}}, 422, "invalid-request", "sharp"),
        ({"per_class": 1, "measure_usefulness": True}, 422, "invalid-request", "without real pictures"),
        ({"per_class": 1, "webhook": "http://127.0.0.1/"}, 422, "invalid-request", "GANYMEDE_WEBHOOK_HOSTS"),
        ({"per_class": 1, "model": "none"}, 404, "unknown-model", "none"),
        ({"per_class": 1, "model": "facades"}, 409, "wrong-task", "POST /v1/translate"),
    ],
)
def test_what_can_not_be_made_is_refused(
    client: httpx2.Client, body: dict[str, Any], status: int, slug: str, told: str
) -> None:
    before = len(client.get("/v1/datasets").json()["data"])
    problem = client.post("/v1/datasets", json={"model": "fashion", **body})
    assert (problem.status_code, problem.json()["type"]) == (status, slug), problem.text
    assert told in problem.text
    assert len(client.get("/v1/datasets").json()["data"]) == before


@pytest.mark.parametrize("identifier", ["ds_none", "..%2f..", "x" * 300, "%00"])
def test_ids_that_there_are_none_of(client: httpx2.Client, identifier: str) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/report"),
        ("GET", "/events"),
        ("GET", "/download"),
        ("GET", "/files/a"),
    ):
        problem = client.request(method, f"/v1/datasets/{identifier}{path}")
        assert problem.status_code == 404 and problem.json()["type"] in ("unknown-dataset", "not-found"), problem.text


def test_what_is_not_there_yet_can_not_be_had(client: httpx2.Client) -> None:
    job = order(client, per_class=15_000)
    too_early = client.post(f"/v1/datasets/{job['id']}/report", files={"real": ("x.zip", b"no zip", "application/zip")})
    assert (too_early.status_code, too_early.json()["type"]) == (409, "not-finished")
    early = client.get(f"/v1/datasets/{job['id']}/download")
    assert (early.status_code, early.json()["type"]) == (409, "not-finished")
    missing = client.get(f"/v1/datasets/{job['id']}/files/ganymede.db")
    assert (missing.status_code, missing.json()["type"]) == (404, "not-found")
    stream = events(client, job["id"])
    next(stream)
    assert client.delete(f"/v1/datasets/{job['id']}").status_code == 204
    assert list(stream)[-1]["status"] == "cancelled"
    assert client.get(f"/v1/datasets/{job['id']}").status_code == 404
    assert client.delete(f"/v1/datasets/{job['id']}").status_code == 404


def until_more_is_done(server: ServerProcess, identifier: str) -> None:
    """Or until it is finished."""

    def state() -> tuple[int, str]:
        job = server.client.get(f"/v1/datasets/{identifier}").json()
        return job["done"], job["status"]

    done, _ = state()
    server.wait_for(lambda: state()[0] > done or state()[1] == "succeeded")


def test_ten_kills_lose_nothing(tmp_path: Path, start_server: Callable[..., ServerProcess]) -> None:
    make_entry(tmp_path / "zoo", "fashion", "conditional", widths=(64, 32))
    body = {"per_class": 1500, "format": "webdataset", "shard_size": 300, "seed": 1}

    def serve(name: str) -> ServerProcess:
        server = start_server(tmp_path / "zoo", GANYMEDE_STORAGE_DIR=str(tmp_path / name))
        server.wait_until_ready()
        return server

    straight = serve("straight")
    wanted = made(straight.client, **body)["files"]
    straight.stop()

    rng = random.Random(0)
    server = serve("killed")
    identifier = order(server.client, **body)["id"]
    for _ in range(KILLS):
        until_more_is_done(server, identifier)
        time.sleep(rng.random() * 0.1)  # any moment
        server.kill()
        with contextlib.closing(sqlite3.connect(tmp_path / "killed" / "ganymede.db")) as database:
            database.execute("update jobs set lease = 0")  # as if ten seconds had passed
            database.commit()
        server = serve("killed")
    last = list(events(server.client, identifier))[-1]
    assert last["status"] == "succeeded"
    assert last["files"] == wanted
    names = {path.name for path in (tmp_path / "killed" / identifier).iterdir()}
    assert names == {file["name"] for file in wanted}
    server.stop()


def test_a_server_that_is_stopped_leaves_its_job_to_the_next(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
) -> None:
    make_entry(tmp_path / "zoo", "fashion", "conditional")
    settings = {"GANYMEDE_STORAGE_DIR": str(tmp_path / "storage")}
    server = start_server(tmp_path / "zoo", **settings)
    server.wait_until_ready()
    identifier = order(server.client, per_class=5000, shard_size=100)["id"]
    server.wait_for(lambda: server.client.get(f"/v1/datasets/{identifier}").json()["done"] > 0)
    assert server.stop() == 0
    server = start_server(tmp_path / "zoo", **settings)
    server.wait_until_ready()
    job = server.client.get(f"/v1/datasets/{identifier}").json()
    assert job["status"] in ("queued", "running", "succeeded")
    server.wait_for(lambda: server.client.get(f"/v1/datasets/{identifier}").json()["status"] == "succeeded")


def test_the_example_trains_a_network_on_what_it_ordered(server: ServerProcess, tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "examples" / "train_on_synthetic.py"
    command = [sys.executable, str(script), "--url", server.url, "--per-class", "100", "--epochs", "12"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120).stdout
    assert "succeeded: 300 of 300 pictures" in shown
    share = re.search(r"right on held-back synthetic pictures: ([\d.]+)%", shown)
    assert share is not None, shown
    assert float(share[1]) > 50, shown  # random weights draw classes that are easy to tell apart
