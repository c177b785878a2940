"""Whoever asked for it is told of a data set's end: signed, again if need be, and nobody else."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.datasets.records import File, Job, Records
from app.datasets.spec import Spec
from app.datasets.webhooks import Webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SPEC = Spec("fashion", 1, ("a",), (1,), 0, 1.0, "npz", 10, {"train": 1.0})


class Receiver(ThreadingHTTPServer):
    """Answers with the statuses that it was given, then 204; keeps what it got."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = statuses
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.news = threading.Condition()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def wait_for(self, count: int) -> None:
        with self.news:
            assert self.news.wait_for(lambda: len(self.got) >= count, timeout=30)


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        with self.server.news:
            self.server.got.append((dict(self.headers), body))
            self.server.news.notify_all()

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@contextlib.contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    receiver = Receiver(list(statuses))
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()


def ended(records: Records, webhook: str | None) -> Job:
    """A job that is done."""
    job = records.create(SPEC, "mine", webhook=webhook)
    assert records.claim() is not None
    records.told(job.id, [File("README.md", 0, "", "text/markdown")], {})
    return records.get(job.id)


async def offload(function: Any, *args: Any) -> Any:
    return await asyncio.to_thread(function, *args)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.datasets.webhooks.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("app.datasets.webhooks.WAITS_S", (0.01, 0.01))


def send(records: Records, webhooks: Webhooks, receiver: Receiver, count: int) -> None:
    """Lets it work until the receiver has got so many messages, and no message is due any more."""

    async def run() -> None:
        async with webhooks.running(records, offload):
            await asyncio.to_thread(receiver.wait_for, count)
            while await asyncio.to_thread(records.next_message, (0.01, 0.01)) is not None:
                await asyncio.sleep(0.02)

    asyncio.run(run())


def test_a_receiver_can_check_what_it_is_told(tmp_path: Path, impatient: None) -> None:
    records = Records(f"sqlite:///{tmp_path}/w.db")
    with receiving() as receiver:
        job = ended(records, f"http://{receiver.host}/hook")
        send(records, Webhooks((receiver.host,), SECRET), receiver, 1)
    headers, body = receiver.got[0]
    told = Webhook(SECRET).verify(body, headers)  # raises if it is not ours
    assert told["type"] == "dataset.succeeded"
    assert told["data"] == {"id": job.id, "name": "mine", "status": "succeeded", "total": 1, "error": None}
    with pytest.raises(Exception, match="signature"):
        Webhook("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").verify(body, headers)


@pytest.mark.parametrize("answer", [500, 302])
def test_what_was_not_taken_is_sent_again(answer: int, tmp_path: Path, impatient: None) -> None:
    records = Records(f"sqlite:///{tmp_path}/w.db")
    with receiving(answer, answer) as receiver:
        ended(records, f"http://{receiver.host}/hook")
        send(records, Webhooks((receiver.host,), SECRET), receiver, 3)
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert records.next_message((1.0,)) is None


def test_a_job_that_was_measured_again_is_told_of_as_something_new(tmp_path: Path, impatient: None) -> None:
    records = Records(f"sqlite:///{tmp_path}/w.db")
    with receiving() as receiver:
        job = ended(records, f"http://{receiver.host}/hook")
        send(records, Webhooks((receiver.host,), SECRET), receiver, 1)
        assert records.measure(job.id)
        assert records.claim() is not None
        records.told(job.id, [File("README.md", 0, "", "text/markdown")], {})
        send(records, Webhooks((receiver.host,), SECRET), receiver, len(receiver.got) + 1)  # the first may have come twice
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2


def test_it_is_given_up_after_the_last_wait(tmp_path: Path) -> None:
    records = Records(f"sqlite:///{tmp_path}/w.db")
    job = ended(records, "http://example.org/")
    tries = [records.next_message((-1.0, -1.0)) for _ in range(4)]
    assert [None if t is None else t.id for t in tries] == [job.id, job.id, job.id, None]


def test_jobs_without_an_address_tell_nobody(tmp_path: Path) -> None:
    records = Records(f"sqlite:///{tmp_path}/w.db")
    ended(records, None)
    assert records.next_message((1.0,)) is None


def test_a_failed_job_is_told_of_too(tmp_path: Path) -> None:
    records = Records(f"sqlite:///{tmp_path}/w.db")
    job = records.create(SPEC, None, webhook="http://example.org/")
    records.claim()
    assert records.next_message((1.0,)) is None
    records.fail(job.id, "no luck")
    due = records.next_message((1.0,))
    assert due is not None and (due.status, due.error) == ("failed", "no luck")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.org/x", None),
        ("https://EXAMPLE.org/x?y", None),
        ("http://example.org:8443/", None),
        ("http://example.org:80/", "not among"),
        ("http://example.org.evil.net/", "not among"),
        ("http://169.254.169.254/latest", "not among"),
        ("http://me:secret@example.org/", "without a name"),
        ("ftp://example.org/", "URL of a web page"),
        ("file:///etc/passwd", "URL of a web page"),
        ("http://example.org:port/", "no URL"),
        ("http://[::1", "no URL"),
    ],
)
def test_only_hosts_that_are_allowed_are_told(url: str, says: str | None) -> None:
    reason = Webhooks(("example.org", "Example.org:8443"), SECRET).why_not(url)
    assert reason is None if says is None else reason is not None and says in reason


@pytest.mark.parametrize("webhooks", [Webhooks((), SECRET), Webhooks(("example.org",), None)])
def test_nothing_is_sent_by_default(webhooks: Webhooks) -> None:
    assert "GANYMEDE_WEBHOOK_SECRET" in (webhooks.why_not("http://example.org/") or "")
