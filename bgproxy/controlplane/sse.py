"""Server-sent events of the admin API (WHATWG HTML section 9.2): ids, resume, heartbeats."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict

from aiohttp import web

from bgproxy.controlplane.events import Event, EventHub, Subscription
from bgproxy.controlplane.live import LiveView
from bgproxy.errors import Refused

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that both ends notice a dead peer."""

WRITE_TIMEOUT = 10.0
"""Seconds that a subscriber may take to accept what is sent; then it is dropped."""

TOGETHER = 0.02
"""Seconds for which further events are waited for, to be sent in the same write."""

MAX_SUBSCRIBERS = 256

_REMEMBERED = 64
"""Events whose words are kept."""


class EventStreams:
    """Every open event stream of the admin API; `stop` ends them all.

    Nobody waits for a subscriber: the hub drops one whose queue overflows, and one that does not
    read is dropped here after `WRITE_TIMEOUT`. A hundred of them must not slow a switch down, so
    an event is put into words once for all, and events in close succession are sent in one write.
    """

    __slots__ = ("_hub", "_open", "_rendered")

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._open: set[Subscription] = set()
        self._rendered: OrderedDict[int, bytes] = OrderedDict()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._open)

    async def serve(self, request: web.Request, live: LiveView | None = None) -> web.StreamResponse:
        """Stream events to one subscriber until either side has enough.

        ``Last-Event-ID`` (or ``?after=``) resumes after that event, as far back as the hub keeps.

        Args:
            live: shows the state between the events, to those that asked for it.

        Raises:
            Refused: 503 when `MAX_SUBSCRIBERS` are there already, 422 for an id that is no number.
        """
        after = _last_id(request)
        if self.count >= MAX_SUBSCRIBERS:
            detail = f"{self.count} event streams are open, which is the most there may be."
            raise Refused(503, "too-many-subscribers", detail, {"retry_after": 5})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back otherwise
        subscription = self._hub.subscribe(after)
        self._open.add(subscription)
        try:
            await response.prepare(request)
            await self._relay(subscription, live, response)
        except (ConnectionError, Refused):
            pass  # the subscriber went away, or the service that it looks at did
        except TimeoutError:
            # It does not read. An orderly close would wait for it to take what is buffered.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._open.discard(subscription)
            subscription.close()
        return response

    async def _relay(
        self, subscription: Subscription, live: LiveView | None, response: web.StreamResponse
    ) -> None:
        """Pass events on, with a comment after each `HEARTBEAT` of silence."""
        data = b"retry: 2000\n\n"
        while data:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await response.write(data)
            data = await self._next(subscription, live)

    async def _next(self, subscription: Subscription, live: LiveView | None) -> bytes:
        """What is to be sent next; nothing when the subscription has ended."""
        try:
            async with asyncio.timeout(live.due_in() if live else HEARTBEAT):
                first = await anext(subscription)
        except TimeoutError:
            return live.render() if live else b":\n\n"
        except StopAsyncIteration:
            return b""
        if live:
            live.hasten()
        await asyncio.sleep(TOGETHER)
        return b"".join(map(self._render, (first, *subscription.take_ready())))

    def _render(self, event: Event) -> bytes:
        """One event in the stream's format, from memory if another subscriber had it before."""
        known = self._rendered.get(event.id)
        if known is None:
            known = self._rendered[event.id] = render(event)
            if len(self._rendered) > _REMEMBERED:
                self._rendered.popitem(last=False)
        return known

    def stop(self) -> None:
        """End every stream."""
        for subscription in tuple(self._open):
            subscription.close()


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
