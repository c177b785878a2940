"""What a data set holds, and what becomes of its jobs when something goes wrong."""

import asyncio
import contextlib
import dataclasses
import errno
import hashlib
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from engine_kit import running as engine_of
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo_factory import make_entry

from app.datasets.formats.row import Hashed, folder_names
from app.datasets.records import GoneError, Job, Records
from app.datasets.runner import Runner
from app.datasets.spec import Filter, Limits, Spec, contents, shared
from app.datasets.storage import LocalStorage, Storage
from app.engine.engine import Engine

NAMES = ("a", "b", "c")


def spec(counts: tuple[int, ...] = (5, 0, 7), **changes: Any) -> Spec:
    given = {
        "model": "fashion", "version": 1, "label_names": NAMES, "counts": counts, "seed": 3, "truncation": 1.0,
        "format": "npz", "shard_size": 4, "split": {"train": 1.0},
    }  # fmt: skip
    return Spec(**given | changes)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=5).filter(sum),
    st.integers(0, 2**63 - 1000),
    st.integers(1, 50),
    st.sampled_from([(1.0,), (0.9, 0.1), (0.5, 0.25, 0.25), (1 / 3, 1 / 3, 1 / 3)]),
)
def test_counts_are_exact_in_all_and_fair_in_each_split(
    counts: list[int], seed: int, shard_size: int, shares: tuple[float, ...]
) -> None:
    split = {f"s{i}": share for i, share in enumerate(shares)}
    made = contents(spec(tuple(counts), seed=seed, shard_size=shard_size, split=split))
    assert np.bincount(made.labels, minlength=len(counts)).tolist() == counts
    assert sum(made.sizes.values()) == sum(counts)
    at = 0
    for (name, size), share in zip(made.sizes.items(), shares, strict=True):
        of_split = np.bincount(made.labels[at : at + size], minlength=len(counts))
        assert all(abs(n - count * share) < 1 for n, count in zip(of_split, counts, strict=True)), name
        at += size
    covered = [i for shard in made.shards for i in range(shard.start, shard.stop)]
    assert covered == list(range(sum(counts)))
    assert all(0 < shard.stop - shard.start <= shard_size for shard in made.shards)
    assert all(sum(s.split == shard.split for s in made.shards) == shard.of for shard in made.shards)


def test_the_order_is_the_seeds_and_never_changes() -> None:
    """Written down once: other versions of any library must give the same."""
    assert contents(spec((5, 2, 7))).labels.tolist() == [2, 2, 2, 0, 1, 1, 0, 2, 0, 2, 2, 0, 0, 2]
    assert contents(spec((5, 2, 7), seed=4)).labels.tolist() != contents(spec((5, 2, 7))).labels.tolist()


def test_shares_by_hand() -> None:
    assert shared(10, (0.9, 0.1)) == [9, 1]
    assert shared(5, (0.5, 0.5)) == [3, 2]
    assert shared(1, (1 / 3, 1 / 3, 1 / 3)) == [1, 0, 0]
    assert shared(0, (0.5, 0.5)) == [0, 0]


def test_folders_can_be_made_of_any_label() -> None:
    assert folder_names(["T-shirt/top", "../etc", "con", "Con", "  ", "Kleid é"]) == [
        "T-shirt-top", "-etc", "con", "Con-3", "class-4", "Kleid é",
    ]  # fmt: skip
    assert folder_names([]) == ["pictures"]


def test_a_spec_survives_the_database() -> None:
    assert Spec.from_json(spec(split={"train": 0.75, "test": 0.25}).as_json()) == spec(split={"train": 0.75, "test": 0.25})


def test_hashed_files_know_what_was_written() -> None:
    out = io.BytesIO()
    hashed = Hashed(out)
    hashed.write(b"ab")
    hashed.write(np.arange(4, dtype=np.uint8).data)
    assert (hashed.tell(), out.getvalue()) == (6, b"ab\0\1\2\3")
    assert hashed.sha256 == hashlib.sha256(out.getvalue()).hexdigest()


def test_one_worker_takes_a_job_and_a_dead_ones_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    one, two = Records(url), Records(url)
    assert one.claim() is None and not (tmp_path / "x.db").exists()
    job = one.create(spec(), None)
    claimed = one.claim()
    assert claimed is not None and claimed.id == job.id and two.claim() is None
    one.progress(job.id, 3, 1.5)
    assert (two.get(job.id).done, two.get(job.id).status) == (3, "running")
    with pytest.raises(GoneError):
        two.progress(job.id, 4, 1.5)
    monkeypatch.setattr("app.datasets.records.LEASE_S", -1.0)
    one.progress(job.id, 5, 1.0)  # the last that is heard of it
    taken = two.claim()
    assert taken is not None and taken.id == job.id
    with pytest.raises(GoneError):
        one.fail(job.id, "too late")
    two.delete(job.id)
    with pytest.raises(GoneError):
        two.get(job.id)
    one.close(), two.close()


class Clumsy(LocalStorage):
    """A folder whose disk is full for the first so many files."""

    def __init__(self, root: Path, failures: int) -> None:
        super().__init__(root)
        self._failures = failures

    @contextlib.contextmanager
    def write(self, job: str, name: str) -> Iterator[IO[bytes]]:
        with super().write(job, name) as out:
            yield out
            if self._failures:
                self._failures -= 1
                raise OSError(errno.ENOSPC, "No space left on device")


def test_a_worker_that_was_overtaken_leaves_the_others_files_alone(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease had run out, and another process goes on with the job: nothing of it may be removed."""

    async def run() -> tuple[Job, list[str]]:
        records, storage = Records(f"sqlite:///{tmp_path}/o.db"), LocalStorage(tmp_path / "o")
        job = records.create(spec((30_000, 0, 0), shard_size=100), None)
        other = Records(f"sqlite:///{tmp_path}/o.db")
        async with engine_of(zoo) as engine, working(engine, records, storage):
            while not (await asyncio.to_thread(records.get, job.id)).files:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(take_over, other, job.id)
            after = records.create(spec(), None)  # the first worker is free for it
            await until(records, after.id, "succeeded")
        return other.get(job.id), sorted(p.name for p in (tmp_path / "o" / job.id).iterdir())

    job, there = asyncio.run(run())
    assert {file.name for file in job.files} <= set(there)
    assert job.files and job.status == "running"


def take_over(records: Records, identifier: str) -> None:
    """Claims a job that another worker holds, as if that one had not been heard of for long. It may be heard of in between."""
    for _ in range(100):
        with sqlite3.connect(str(records._url.database)) as database:
            database.execute("update jobs set lease = 0 where id = ?", (identifier,))
        if (claimed := records.claim()) is not None:
            assert claimed.id == identifier
            return
    raise AssertionError("the other worker never let go")


def test_a_lease_is_kept_while_one_chunk_takes_long(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.datasets.records.LEASE_S", 0.4)
    monkeypatch.setattr("app.datasets.runner.LEASE_S", 0.4)

    async def run() -> None:
        records, other = Records(f"sqlite:///{tmp_path}/k.db"), Records(f"sqlite:///{tmp_path}/k.db")
        job = records.create(spec(), None)
        async with engine_of(zoo) as engine:
            drawing = asyncio.Event()
            draw = engine.in_bulk

            async def slow(*args: Any) -> Any:
                drawing.set()
                await asyncio.sleep(1.2)  # three leases
                return await draw(*args)

            monkeypatch.setattr(engine, "in_bulk", slow)
            async with working(engine, records, LocalStorage(tmp_path / "k")):
                await drawing.wait()
                for _ in range(10):
                    assert await asyncio.to_thread(other.claim) is None
                    await asyncio.sleep(0.1)
                await until(records, job.id, "succeeded")

    asyncio.run(asyncio.wait_for(run(), 60))


def test_large_pictures_are_drawn_as_many_at_a_time_as_one_order_may_ask_for(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> Job:
        records = Records(f"sqlite:///{tmp_path}/l.db")
        job = records.create(spec((30, 0, 0), shard_size=100), None)
        async with engine_of(zoo) as engine:
            monkeypatch.setattr(engine, "_config", dataclasses.replace(engine._config, max_pixels=7 * 16 * 16))
            async with working(engine, records, LocalStorage(tmp_path / "l")):
                return await until(records, job.id, "succeeded", "failed")

    job = asyncio.run(run())
    assert (job.status, job.error) == ("succeeded", None)


async def until(records: Records, identifier: str, *statuses: str) -> Job:
    while (job := await asyncio.to_thread(records.get, identifier)).status not in statuses:
        await asyncio.sleep(0.01)
    return job


@contextlib.asynccontextmanager
async def working(engine: Engine, records: Records, storage: Storage, **limits: Any) -> Any:
    allowed = Limits(max_pictures=10**6, max_jobs=100, quota_bytes=2**30, retention_s=3600.0, lesson_pictures=640)
    runner = Runner(engine, records, storage, dataclasses.replace(allowed, **limits))
    async with runner.running():
        yield runner


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    make_entry(tmp_path / "zoo", "fashion", "conditional")
    return tmp_path / "zoo"


def test_a_full_disk_pauses_a_job_and_it_goes_on(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.datasets.runner.RETRY_S", 0.2)
    monkeypatch.setattr("app.datasets.runner.POLL_S", 0.05)

    async def make(storage: Storage, name: str) -> tuple[list[str], Job]:
        records = Records(f"sqlite:///{tmp_path}/{name}.db")
        job = records.create(spec((10, 3, 9)), None)
        seen = []
        async with engine_of(zoo) as engine, working(engine, records, storage):
            if name == "full":
                paused = await until(records, job.id, "paused")
                seen.append(paused.error or "")
            return seen, await until(records, job.id, "succeeded", "failed")

    reasons, job = asyncio.run(make(Clumsy(tmp_path / "full", 2), "full"))
    assert "disk" in reasons[0] and job.status == "succeeded"
    _, straight = asyncio.run(make(LocalStorage(tmp_path / "straight"), "straight"))
    assert [f.sha256 for f in job.files] == [f.sha256 for f in straight.files]
    assert not list((tmp_path / "full").rglob(".staged-*"))


def test_a_quota_pauses_jobs_until_there_is_room(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.datasets.runner.RETRY_S", 0.1)
    monkeypatch.setattr("app.datasets.runner.POLL_S", 0.05)

    async def run() -> None:
        records, storage = Records(f"sqlite:///{tmp_path}/q.db"), LocalStorage(tmp_path / "q")
        first = records.create(spec((40, 0, 0), shard_size=100), "first")
        async with engine_of(zoo) as engine, working(engine, records, storage, quota_bytes=5000):
            await until(records, first.id, "succeeded")
            second = records.create(spec((40, 0, 0), shard_size=100), "second")
            paused = await until(records, second.id, "paused")
            assert "GANYMEDE_STORAGE_QUOTA_MB" in (paused.error or "")
            await asyncio.to_thread(records.delete, first.id)
            await until(records, second.id, "succeeded")

    asyncio.run(run())


def test_what_was_kept_long_enough_goes_and_so_do_files_without_a_job(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.datasets.runner.POLL_S", 0.05)

    async def run() -> None:
        records, storage = Records(f"sqlite:///{tmp_path}/r.db"), LocalStorage(tmp_path / "r")
        with storage.write("ds_orphan", "x") as out:
            out.write(b"x")
        job = records.create(spec(), None)
        async with engine_of(zoo) as engine, working(engine, records, storage, retention_s=0.2):
            with pytest.raises(GoneError):
                while True:
                    await until(records, job.id, "gone already")
            while storage.jobs():
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_model_that_is_gone_fails_the_job_with_its_reason(zoo: Path, tmp_path: Path) -> None:
    async def run() -> Job:
        records = Records(f"sqlite:///{tmp_path}/g.db")
        job = records.create(spec(version=9), None)
        async with engine_of(zoo) as engine, working(engine, records, LocalStorage(tmp_path / "g")):
            return await until(records, job.id, "failed")

    assert "no version 9" in (asyncio.run(run()).error or "")


def test_deleting_a_job_that_is_being_made_stops_it_and_leaves_nothing(zoo: Path, tmp_path: Path) -> None:
    async def run() -> list[str]:
        records, storage = Records(f"sqlite:///{tmp_path}/d.db"), LocalStorage(tmp_path / "d")
        job = records.create(spec((5000, 0, 0), shard_size=100), None)
        async with engine_of(zoo) as engine, working(engine, records, storage):
            while not (await asyncio.to_thread(records.get, job.id)).files:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(records.delete, job.id)
            after = records.create(spec(), None)  # the worker is free again
            await until(records, after.id, "succeeded")
            return [name for name in storage.jobs() if name != after.id]

    assert asyncio.run(run()) == []


def test_a_job_that_its_filter_makes_impossible_says_so(tmp_path: Path) -> None:
    make_entry(tmp_path / "zoo", "fashion", "conditional", proved=True)

    async def run() -> Job:
        records = Records(f"sqlite:///{tmp_path}/f.db")
        job = records.create(spec((0, 2, 0), filter=Filter(min_confidence=0.9999)), None)
        async with engine_of(tmp_path / "zoo") as engine, working(engine, records, LocalStorage(tmp_path / "f")):
            return await until(records, job.id, "succeeded", "failed")

    job = asyncio.run(run())
    assert job.status == "failed" and "min_confidence 0.9999" in (job.error or "")
