"""Server-sent events of the admin API (WHATWG HTML section 9.2): ids, resume, heartbeats."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from bgproxy.controlplane.events import Event, EventHub, Subscription
from bgproxy.errors import Refused

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that both ends notice a dead peer."""

WRITE_TIMEOUT = 10.0
"""Seconds that a subscriber may take to accept what is sent; then it is dropped."""

MAX_SUBSCRIBERS = 256


class EventStreams:
    """Every open event stream of the admin API; `stop` ends them all.

    Nobody waits for a subscriber: the hub drops one whose queue overflows, and one that does not
    read is dropped here after `WRITE_TIMEOUT`.
    """

    __slots__ = ("_closing", "_hub", "open")

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self.open = 0
        """How many there are."""
        self._closing = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Stream events to one subscriber until either side has enough.

        ``Last-Event-ID`` (or ``?after=``) resumes after that event, as far back as the hub keeps.

        Raises:
            Refused: 503 when `MAX_SUBSCRIBERS` are there already, 422 for an id that is no number.
        """
        after = _last_id(request)
        if self.open >= MAX_SUBSCRIBERS:
            detail = f"{self.open} event streams are open, which is the most there may be."
            raise Refused(503, "too-many-subscribers", detail, {"retry_after": 5})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back otherwise
        subscription = self._hub.subscribe(after)
        self.open += 1
        try:
            await response.prepare(request)
            await self._write(response, b"retry: 2000\n\n")
            await self._relay(subscription, response)
        except ConnectionError:
            pass  # the subscriber went away
        except TimeoutError:
            # It does not read. An orderly close would wait for it to take what is buffered.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.open -= 1
            subscription.close()
        return response

    async def _relay(self, subscription: Subscription, response: web.StreamResponse) -> None:
        """Pass events on, with a comment after each `HEARTBEAT` of silence."""
        loop = asyncio.get_running_loop()
        events = aiter(subscription)
        closing = loop.create_task(self._closing.wait())
        upcoming: asyncio.Task[Event | None] = loop.create_task(_next(events))
        try:
            while not closing.done():
                await asyncio.wait(
                    (upcoming, closing), timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED
                )
                if not upcoming.done():
                    await self._write(response, b":\n\n")
                    continue
                event = upcoming.result()
                if event is None:
                    return
                await self._write(response, render(event))
                upcoming = loop.create_task(_next(events))
        finally:
            closing.cancel()
            upcoming.cancel()

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        await asyncio.wait_for(response.write(data), WRITE_TIMEOUT)

    def stop(self) -> None:
        """End every stream."""
        self._closing.set()


async def _next(events: Subscription) -> Event | None:
    try:
        return await anext(events)
    except StopAsyncIteration:
        return None


def _last_id(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID") or request.query.get("after")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Refused(422, "invalid", f"The event id {text!r} is not a number.")
    return int(text)


def render(event: Event) -> bytes:
    """One event in the stream's format; `data` is one line of JSON."""
    data = {"at": event.at, "service": event.service} | event.data
    text = json.dumps(data, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.type}\ndata: {text}\n\n".encode()
