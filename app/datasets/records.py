"""What is known of every job, in a database: SQLite beside the files by default, PostgreSQL by its URL.

Plain blocking functions, for helper threads. A job is worked on by whoever holds its lease; a process that dies loses it.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.datasets.spec import Spec
from app.datasets.tally import Tally, total

LEASE_S = 10.0  # a job whose worker has not been heard of for so long is taken over
QUEUED, RUNNING, PAUSED, SUCCEEDED, FAILED = "queued", "running", "paused", "succeeded", "failed"
ENDED = (SUCCEEDED, FAILED)
OF_PICTURES, FILES_OF_A_SHARD = 100, 2  # places in the listing: those that tell of the data set come first

METADATA = sa.MetaData()
JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(200)),
    sa.Column("created", sa.Float, nullable=False, index=True),  # Unix time, s
    sa.Column("ended", sa.Float),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),  # pictures, of which those of an unfinished shard would be drawn again
    sa.Column("rate", sa.Float, nullable=False),  # pictures a second, of late
    sa.Column("error", sa.Text),
    sa.Column("report", sa.JSON),
    sa.Column("stage", sa.Text),  # what is being done, where that is not drawing
    sa.Column("measure", sa.Boolean, nullable=False),  # whether its usefulness is to be measured
    sa.Column("webhook", sa.Text),  # where its end is to be told
    sa.Column("tell_at", sa.Float),  # Unix time, s, when that is tried next; null: never
    sa.Column("told_times", sa.Integer, nullable=False),  # how often it was tried
    sa.Column("owner", sa.String(40)),
    sa.Column("lease", sa.Float, nullable=False),  # Unix time, s, until which nobody else takes it
)
FILES = sa.Table(
    "files",
    METADATA,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),  # in the listing
    sa.Column("shard", sa.Integer),  # None: no part of the pictures
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("media_type", sa.String(80), nullable=False),
)


SHARDS = sa.Table(
    "shards",
    METADATA,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True),
    sa.Column("tally", sa.JSON, nullable=False),
)


@dataclass(frozen=True)
class File:
    """A finished file."""

    name: str
    bytes: int
    sha256: str
    media_type: str
    shard: int | None = None


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    id: str
    name: str | None
    created: float
    ended: float | None
    status: str
    spec: Spec
    total: int
    done: int
    rate: float
    error: str | None
    report: dict[str, Any] | None
    stage: str | None
    measure: bool
    webhook: str | None
    files: tuple[File, ...]


class GoneError(Exception):
    """The job was deleted, or another process works on it now."""


class Records:
    """The database. Made when it is needed first."""

    def __init__(self, url: str) -> None:
        self._url = sa.engine.make_url(url)
        self._opened: sa.Engine | None = None
        self.owner = secrets.token_hex(8)  # this process

    def exists(self) -> bool:
        """Whether there is a database yet."""
        return self._opened is not None or self._file is None or self._file.exists()

    @property
    def _file(self) -> Path | None:
        return Path(self._url.database) if self._url.get_backend_name() == "sqlite" and self._url.database else None

    @property
    def _engine(self) -> sa.Engine:
        if self._opened is None:
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(self._url, pool_pre_ping=True)
            if self._file is not None:
                sa.event.listen(engine, "connect", _prepare_sqlite)
            METADATA.create_all(engine)
            self._opened = engine
        return self._opened

    def close(self) -> None:
        """Lets go of all connections."""
        if self._opened is not None:
            self._opened.dispose()
            self._opened = None

    def create(self, spec: Spec, name: str | None, *, measure: bool = False, webhook: str | None = None) -> Job:
        """A new job, for whoever claims it. `measure`: its usefulness, too. `webhook`: a URL that is told of its end."""
        identifier = f"ds_{secrets.token_hex(10)}"
        values = {
            "id": identifier, "name": name, "created": time.time(), "status": QUEUED, "spec": spec.as_json(),
            "total": spec.total, "done": 0, "rate": 0.0, "lease": 0.0, "measure": measure,
            "webhook": webhook, "told_times": 0,
        }  # fmt: skip
        with self._engine.begin() as connection:
            connection.execute(sa.insert(JOBS).values(values))
        return self.get(identifier)

    def get(self, identifier: str) -> Job:
        """Raises `GoneError`."""
        if not self.exists():
            raise GoneError(identifier)
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == identifier)).mappings().first()
            if row is None:
                raise GoneError(identifier)
            return _job(row, self._files(connection, [identifier]))

    def all(self) -> list[Job]:
        """Newest first."""
        if not self.exists():
            return []
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(JOBS).order_by(JOBS.c.created.desc(), JOBS.c.id)).mappings().all()
            files = self._files(connection, [row["id"] for row in rows])
            return [_job(row, files) for row in rows]

    def _files(self, connection: sa.Connection, jobs: Sequence[str]) -> dict[str, list[File]]:
        found: dict[str, list[File]] = {}
        query = sa.select(FILES).where(FILES.c.job.in_(jobs)).order_by(FILES.c.place)
        for row in connection.execute(query).mappings():
            file = File(row["name"], row["bytes"], row["sha256"], row["media_type"], row["shard"])
            found.setdefault(row["job"], []).append(file)
        return found

    def used_bytes(self) -> int:
        """Of all finished files."""
        if not self.exists():
            return 0
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(FILES.c.bytes), 0))).scalar_one())

    def claim(self) -> Job | None:
        """The oldest job that nobody works on, now this process's. None: there is none."""
        if not self.exists():
            return None
        now = time.time()
        free = (JOBS.c.lease < now) & JOBS.c.status.notin_(ENDED)
        with self._engine.begin() as connection:
            oldest = sa.select(JOBS.c.id).where(free).order_by(JOBS.c.created).limit(1).scalar_subquery()
            mine = {"owner": self.owner, "lease": now + LEASE_S, "status": RUNNING, "error": None}
            query = sa.update(JOBS).where((JOBS.c.id == oldest) & free).values(mine).returning(JOBS.c.id)
            identifier = connection.execute(query).scalar_one_or_none()
        return None if identifier is None else self.get(identifier)

    def progress(self, identifier: str, done: int, rate: float) -> None:
        """Says how far a job has come, and keeps its lease. Raises `GoneError`."""
        with self._engine.begin() as connection:
            self._update(connection, identifier, done=done, rate=rate, lease=time.time() + LEASE_S)

    def renew(self, identifier: str) -> None:
        """Keeps a job's lease. Raises `GoneError`."""
        with self._engine.begin() as connection:
            self._update(connection, identifier, lease=time.time() + LEASE_S)

    def finished(self, identifier: str, shard: int, files: Sequence[File], tally: Tally, done: int) -> None:
        """Adds the files of a shard, which are on the disk, and what was found out about it. Raises `GoneError`."""
        with self._engine.begin() as connection:
            self._update(connection, identifier, done=done, lease=time.time() + LEASE_S)
            rows = [
                {"job": identifier, "place": OF_PICTURES + FILES_OF_A_SHARD * shard + i, **vars(f)} for i, f in enumerate(files)
            ]
            connection.execute(sa.insert(FILES), rows)
            connection.execute(sa.insert(SHARDS).values(job=identifier, shard=shard, tally=tally.as_json()))

    def tally(self, identifier: str) -> Tally:
        """What was found out about all finished shards."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(SHARDS.c.tally).where(SHARDS.c.job == identifier).order_by(SHARDS.c.shard))
            return total(Tally.from_json(row) for row in rows.scalars())

    def at_stage(self, identifier: str, stage: str) -> None:
        """Says what is being done. Raises `GoneError`."""
        with self._engine.begin() as connection:
            self._update(connection, identifier, stage=stage, lease=time.time() + LEASE_S)

    def told(self, identifier: str, files: Sequence[File], report: dict[str, Any]) -> None:
        """The job is done: these files tell of it, in the place of those that did before. Raises `GoneError`."""
        with self._engine.begin() as connection:
            now = time.time()
            ended = {"status": SUCCEEDED, "ended": now, "tell_at": now, "owner": None, "stage": None, "measure": False}
            self._update(connection, identifier, report=report, error=None, **ended)
            connection.execute(sa.delete(FILES).where((FILES.c.job == identifier) & FILES.c.shard.is_(None)))
            connection.execute(sa.insert(FILES), [{"job": identifier, "place": i, **vars(f)} for i, f in enumerate(files)])

    def measure(self, identifier: str) -> bool:
        """Puts a job that is done back into the queue, for its usefulness to be measured; False if it isn't done."""
        done = (JOBS.c.id == identifier) & (JOBS.c.status == SUCCEEDED)
        with self._engine.begin() as connection:
            again = {"status": QUEUED, "measure": True, "ended": None, "tell_at": None, "told_times": 0, "lease": 0.0}
            return connection.execute(sa.update(JOBS).where(done).values(again)).rowcount == 1

    def fail(self, identifier: str, error: str) -> None:
        """The job is over. Raises `GoneError`."""
        with self._engine.begin() as connection:
            ended = {"status": FAILED, "ended": time.time(), "owner": None, "stage": None, "tell_at": time.time()}
            self._update(connection, identifier, error=error, **ended)

    def next_message(self, waits_s: Sequence[float]) -> Job | None:
        """A job whose end is to be told now; None: there is none. It is due again after a while, until `message_sent`."""
        if not self.exists():
            return None
        now = time.time()
        with self._engine.begin() as connection:
            due = JOBS.c.webhook.is_not(None) & (JOBS.c.tell_at <= now)
            row = connection.execute(sa.select(JOBS.c.id, JOBS.c.told_times).where(due).limit(1)).first()
            if row is None:
                return None
            later = now + waits_s[row.told_times] if row.told_times < len(waits_s) else None
            mine = (JOBS.c.id == row.id) & (JOBS.c.told_times == row.told_times)
            values = {"tell_at": later, "told_times": row.told_times + 1}
            if connection.execute(sa.update(JOBS).where(mine).values(values)).rowcount != 1:
                return None  # another process was quicker
        return self.get(row.id)

    def message_sent(self, identifier: str) -> None:
        """Its end was told."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(JOBS).where(JOBS.c.id == identifier).values(tell_at=None))

    def pause(self, identifier: str, reason: str, seconds: float) -> None:
        """Nobody goes on with it for so long. Raises `GoneError`."""
        with self._engine.begin() as connection:
            self._update(connection, identifier, status=PAUSED, error=reason, owner=None, lease=time.time() + seconds)

    def release(self, identifier: str) -> None:
        """Leaves a job to whoever claims it next. Raises `GoneError`."""
        with self._engine.begin() as connection:
            self._update(connection, identifier, status=QUEUED, owner=None, lease=0.0)

    def _update(self, connection: sa.Connection, identifier: str, **values: Any) -> None:
        mine = (JOBS.c.id == identifier) & (JOBS.c.owner == self.owner)
        if connection.execute(sa.update(JOBS).where(mine).values(**values)).rowcount != 1:
            raise GoneError(identifier)

    def delete(self, identifier: str) -> None:
        """Forgets a job and its files. Raises `GoneError`."""
        if not self.exists():
            raise GoneError(identifier)
        with self._engine.begin() as connection:
            for table in (FILES, SHARDS):
                connection.execute(sa.delete(table).where(table.c.job == identifier))
            if connection.execute(sa.delete(JOBS).where(JOBS.c.id == identifier)).rowcount != 1:
                raise GoneError(identifier)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Readers don't wait for the writer, and what was committed survives a power cut."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _job(row: Any, files: dict[str, list[File]]) -> Job:
    same = {name: row[name] for name in Job.__dataclass_fields__ if name not in ("spec", "files")}
    return Job(**same, spec=Spec.from_json(row["spec"]), files=tuple(files.get(row["id"], ())))
