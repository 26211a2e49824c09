"""Tells people what happened: a queue for each of them, so that none waits for another."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from bgproxy.controlplane.events import EventHub
from bgproxy.controlplane.late import LateModule
from bgproxy.controlplane.probes import show_status
from bgproxy.controlplane.tasks import Tasks
from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.chat import destination, message
from bgproxy.domain.hooks import is_worth_retrying, retry_pause
from bgproxy.domain.notifications import News, Notification, news_of, trial_news

if TYPE_CHECKING:
    import aiohttp
else:
    aiohttp = LateModule("aiohttp")

_MOST_QUEUED = 100
_REMEMBERED = 1000

_log = structlog.get_logger("bgproxy.notifications")


class Notifier:
    """Follows the events; never in a switch's way. `configure`, `start`, in the end `stop`.

    Attributes:
        counts: messages by the receiver's name and what became of them: ``sent``, ``failed`` or
            ``dropped``, which is one that found its queue full.
    """

    def __init__(self, events: EventHub) -> None:
        self._events = events
        self._tasks = Tasks()
        self._receivers: list[_Receiver] = []
        self._session: aiohttp.ClientSession | None = None
        self._keys: deque[str] = deque(maxlen=_REMEMBERED)
        self.counts: Counter[tuple[str, str]] = Counter()

    def configure(self, notifications: Sequence[Notification]) -> None:
        """Tell these from now on; what is queued for one that stays is still sent."""
        before = {receiver.notification: receiver for receiver in self._receivers}
        self._receivers = []
        for notification in notifications:
            receiver = before.pop(notification, None)
            if receiver is None:
                receiver = _Receiver(notification, self.counts)
            self._receivers.append(receiver)
        for left in before.values():
            left.end()
        if self._session is not None:
            self._begin()

    def start(self) -> None:
        """Begin to follow the events, from now on."""
        # Not the environment's proxies, nor cookies: what is configured is all there is.
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._tasks.start(self._follow(), "notifications")
        self._begin()

    def _begin(self) -> None:
        assert self._session is not None
        for receiver in self._receivers:
            if receiver.task is None:
                receiver.task = self._tasks.start(
                    receiver.send_queued(self._session), f"notify {receiver.notification.name}"
                )

    async def stop(self) -> None:
        """Tell nobody any more."""
        await self._tasks.stop()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self) -> None:
        last: int | None = None
        while True:
            async for event in self._events.subscribe(last):
                last = event.id
                news = news_of(event.type, event.service, event.data, event.at)
                if news is not None and news.key not in self._keys:
                    self._keys.append(news.key)
                    for receiver in self._receivers:
                        receiver.offer(news)

    async def test(self, actor: str) -> dict[str, Any]:
        """Send a test through each and wait for what comes back.

        Returns:
            ``results``, for each receiver its ``name``, ``kind``, ``sent`` and ``answered``.
        """
        if self._session is None:
            return {"results": []}
        news = trial_news(actor, rfc3339(time.time()))
        sessions = (receiver.try_once(self._session, news) for receiver in self._receivers)
        answers = await asyncio.gather(*sessions)
        results = [
            {
                "name": receiver.notification.name,
                "kind": str(receiver.notification.channel),
                "sent": 200 <= status <= 299,
                "answered": said,
            }
            for receiver, (status, said) in zip(self._receivers, answers, strict=True)
        ]
        return {"results": results}


class _Receiver:
    """One who is told, in order; `send_queued` runs as long as it is configured."""

    def __init__(self, notification: Notification, counts: Counter[tuple[str, str]]) -> None:
        self.notification = notification
        self.task: asyncio.Task[None] | None = None
        self._counts = counts
        self._queue: asyncio.Queue[News] = asyncio.Queue(_MOST_QUEUED)

    def offer(self, news: News) -> None:
        """Queue news that are wanted here; a full queue takes none."""
        if not self.notification.wants(news):
            return
        try:
            self._queue.put_nowait(news)
        except asyncio.QueueFull:
            self._count("dropped", news, f"{_MOST_QUEUED} messages wait already")

    def end(self) -> None:
        """It is not configured any more."""
        if self.task is not None:
            self.task.cancel()

    async def send_queued(self, session: aiohttp.ClientSession) -> None:
        """Send one after the other."""
        while True:
            news = await self._queue.get()
            await self._send(session, news)

    async def _send(self, session: aiohttp.ClientSession, news: News) -> None:
        attempts = self.notification.attempts
        said = ""
        for attempt in range(1, attempts + 1):
            status, said = await self.try_once(session, news)
            if 200 <= status <= 299:
                self._counts[self.notification.name, "sent"] += 1
                return
            if attempt == attempts or (status and not is_worth_retrying(status)):
                break
            await asyncio.sleep(retry_pause(attempt))
        self._count("failed", news, said)

    def _count(self, outcome: str, news: News, detail: str) -> None:
        self._counts[self.notification.name, outcome] += 1
        _log.error(
            "notification_lost",
            name=self.notification.name,
            kind=str(self.notification.channel),
            about=str(news.occasion),
            service=news.service,
            outcome=outcome,
            detail=detail,
        )

    async def try_once(self, session: aiohttp.ClientSession, news: News) -> tuple[int, str]:
        """Send it; the answer's status, 0 for none, and what to say about it without the URL."""
        wanted = self.notification
        fields = {
            "Content-Type": "application/json",
            "User-Agent": "bgproxy",
            "Idempotency-Key": news.key,
        }
        if wanted.token:
            fields["Authorization"] = f"Bearer {wanted.token}"
        try:
            async with (
                asyncio.timeout(wanted.timeout),
                session.post(
                    destination(wanted.channel, wanted.url),
                    data=json.dumps(message(wanted.channel, news)).encode(),
                    headers=fields,
                    allow_redirects=False,
                ) as answer,
            ):
                return answer.status, f"answered {show_status(answer.status, answer.reason or '')}"
        except TimeoutError:
            return 0, f"no answer within {wanted.timeout:g} s"
        except aiohttp.ClientConnectorError as error:
            return 0, error.strerror or "cannot connect"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, type(error).__name__  # its text may hold the URL, which is a secret
