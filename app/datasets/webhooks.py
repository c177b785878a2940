"""Tells callers that their data sets have ended, signed as https://www.standardwebhooks.com has it.

At least once: a message that is not taken is sent again, by this process or the next, later and later.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx2

from app.datasets.offload import Offload
from app.datasets.records import GoneError, Job, Records

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
LOOK_EVERY_S = 1.0
WAITS_S = (5.0, 20.0, 80.0, 320.0, 1280.0, 5120.0, 20480.0)  # after each try that failed; then it is given up
SECRET_PREFIX = "whsec_"


class Webhooks:
    """Where messages may go, and how they are signed. Use as `async with webhooks.running(…)`.

    `hosts`: names that callers may have messages sent to, such as `example.org` or `example.org:8443`; without any, or without
    a secret, nothing is sent.
    """

    def __init__(self, hosts: tuple[str, ...], secret: str | None) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._key = None if secret is None else key_of(secret)

    def why_not(self, url: str) -> str | None:
        """Why nothing is sent there; None if it is."""
        if self._key is None or not self._hosts:
            return "this service sends no messages: set GANYMEDE_WEBHOOK_SECRET and GANYMEDE_WEBHOOK_HOSTS"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "it is no URL"
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            return "it must be the URL of a web page, without a name and a password"
        place = parts.hostname if port is None else f"{parts.hostname}:{port}"
        if place not in self._hosts:
            return f"'{place[:100]}' is not among GANYMEDE_WEBHOOK_HOSTS: {', '.join(sorted(self._hosts))}"
        return None

    @contextlib.asynccontextmanager
    async def running(self, records: Records, offload: Offload) -> AsyncIterator[None]:
        """Sends what is due inside the context."""
        if self._key is None:
            yield
            return
        sending = asyncio.create_task(self._send_all(records, offload), name="webhooks")
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self, records: Records, offload: Offload) -> None:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:  # follows no redirection: hosts are those that were allowed
            while True:
                try:
                    while (due := await offload(records.next_message, WAITS_S)) is not None:
                        await self._send(client, records, offload, due)
                except Exception:
                    log.exception("sending messages failed; it is tried again")
                await asyncio.sleep(LOOK_EVERY_S)

    async def _send(self, client: httpx2.AsyncClient, records: Records, offload: Offload, job: Job) -> None:
        assert job.webhook is not None  # it is due
        body = message(job)
        try:
            reason = self.why_not(job.webhook)  # the settings may have changed
            if reason is None:
                answer = await client.post(job.webhook, content=body, headers=self.headers(message_id(job), body, time.time()))
                reason = None if answer.is_success else f"it answered {answer.status_code}"
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
        if reason is None:
            with contextlib.suppress(GoneError):
                await offload(records.message_sent, job.id)
        else:
            log.warning("the message about data set %s was not taken: %s", job.id, reason)

    def headers(self, identifier: str, body: bytes, now: float) -> dict[str, str]:
        """What a receiver checks."""
        assert self._key is not None  # nothing is sent without
        signed = f"{identifier}.{int(now)}.".encode() + body
        signature = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()
        return {
            "content-type": "application/json",
            "webhook-id": identifier,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": f"v1,{signature}",
        }


def key_of(secret: str) -> bytes:
    """The bytes behind `whsec_` and base64; of any other text, those of the text."""
    if secret.startswith(SECRET_PREFIX):
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return secret.encode()


def message_id(job: Job) -> str:
    """The same at every try: receivers tell by it what they have had. A job that was measured again ends once more."""
    return f"{job.id}.{int(1000 * (job.ended or 0))}"


def message(job: Job) -> bytes:
    """What is told: enough to fetch the rest."""
    ended = datetime.fromtimestamp(job.ended or time.time(), UTC).isoformat()
    data = {"id": job.id, "name": job.name, "status": job.status, "total": job.total, "error": job.error}
    return json.dumps({"type": f"dataset.{job.status}", "timestamp": ended, "data": data}).encode()
