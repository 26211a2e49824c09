"""The application that the demo, the examples and a first try put behind the proxy.

`python -m bgproxy.sample_app --port 9001 --color blue --release v1` serves:

| request | answers |
| --- | --- |
| `GET /` | who answers: a page in the application's color, or one line of text for curl |
| `GET /healthz` | 200 |
| `GET /slow?seconds=5` | the same as `/`, that much later |
| `GET /events` | server-sent events, one a second |
| `GET /ws` | a WebSocket that sends back what it gets |
| `POST /fail?share=0.2` | from now on that share of the answers of `/` and `/slow` is a 500 |
"""

from __future__ import annotations

import argparse
import asyncio
import html
import os
from dataclasses import dataclass, field
from math import floor

from aiohttp import WSMsgType, web

MAX_SLOW = 600.0
"""Seconds that `/slow` waits at most."""

_SHADES = {"blue": "#1f5fbf", "green": "#1d7a44"}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{color} {release}</title>
<style>
 body {{ margin: 0; min-height: 100vh; display: grid; place-content: center; text-align: center;
        background: {shade}; color: #fff; font: 1.2rem/1.6 system-ui, sans-serif }}
 h1 {{ font-size: 4rem; margin: 0 }}
</style>
<h1>{color}</h1><p>release {release}, process {pid}, request {requests}</p>
<script>setTimeout(() => location.reload(), 1000)</script>
"""


@dataclass(slots=True)
class SampleApp:
    """One sample application: who it is and what it has done so far.

    Args:
        color: shown on every answer; blue and green also color the page.
        release: the name of what runs here.
        fail_share: how many of the answers are a 500, from 0 to 1.
    """

    color: str
    release: str
    fail_share: float = 0.0
    requests: int = 0
    _owed: float = field(default=0.0, repr=False)

    def build(self) -> web.Application:
        """The application, ready for an aiohttp runner."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/", self.home),
                web.get("/healthz", self.health),
                web.get("/slow", self.slow),
                web.get("/events", self.events),
                web.get("/ws", self.echo),
                web.post("/fail", self.fail),
            ]
        )
        return application

    async def home(self, request: web.Request) -> web.Response:
        """Say who answers, or fail if that was asked for."""
        self.requests += 1
        if self._is_due_to_fail():
            return web.Response(status=500, text=f"{self.color} {self.release} fails on purpose\n")
        return self._introduce(request)

    async def health(self, request: web.Request) -> web.Response:
        """Well, always: failures are for the watch after a switch to find, not the probes."""
        return web.Response(text="ok\n")

    async def slow(self, request: web.Request) -> web.Response:
        """Answer as `/` does, `seconds` (5 by default) later."""
        await asyncio.sleep(_number(request, "seconds", 5.0, MAX_SLOW))
        return await self.home(request)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """One event a second until the client leaves."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        number = 0
        while True:
            number += 1
            event = f"id: {number}\ndata: {self.color} {self.release} event {number}\n\n"
            try:
                await response.write(event.encode())
            except ConnectionError:
                return response
            await asyncio.sleep(1)

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        """Send back what comes, with the color before it."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(f"{self.color} {self.release}: {message.data}")
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    async def fail(self, request: web.Request) -> web.Response:
        """From now on fail `share` of the answers; 0 ends it."""
        self.fail_share = _number(request, "share", 1.0, 1.0)
        self._owed = 0.0
        text = f"{self.color} {self.release} now fails {self.fail_share:.0%} of its answers\n"
        return web.Response(text=text)

    def _is_due_to_fail(self) -> bool:
        """Spread failures evenly, not at random: a share of 0.25 is every fourth answer."""
        self._owed += self.fail_share
        due = floor(self._owed)
        self._owed -= due
        return due > 0

    def _introduce(self, request: web.Request) -> web.Response:
        facts = {"pid": os.getpid(), "requests": self.requests}
        headers = {"X-Color": self.color, "X-Release": self.release, "Cache-Control": "no-store"}
        if "text/html" in request.headers.get("Accept", ""):
            page = _PAGE.format(
                color=html.escape(self.color),
                release=html.escape(self.release),
                shade=_SHADES.get(self.color, "#444"),
                **facts,
            )
            return web.Response(text=page, content_type="text/html", headers=headers)
        line = "{color} {release}  process {pid}  request {requests}\n".format(
            color=self.color, release=self.release, **facts
        )
        return web.Response(text=line, headers=headers)


def _number(request: web.Request, name: str, default: float, most: float) -> float:
    """A number from 0 to `most` in the query.

    Raises:
        web.HTTPBadRequest: for anything else.
    """
    text = request.query.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise web.HTTPBadRequest(text=f"{name} is a number from 0 to {most:g}, not {text!r}\n")
    return value


def main() -> None:
    """Serve until TERM or INT."""
    parser = argparse.ArgumentParser(
        prog="python -m bgproxy.sample_app", description="A small application to proxy."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--color", default="blue")
    parser.add_argument("--release", default="v1")
    options = parser.parse_args()
    application = SampleApp(options.color, options.release).build()
    try:
        web.run_app(
            application,
            host=options.host,
            port=options.port,
            print=None,
            access_log=None,
            shutdown_timeout=1,  # an endless event stream is no reason to stay
        )
    except OSError as error:
        parser.exit(
            1,
            f"{parser.prog}: {error.strerror}\n"
            "Give it another --port, and name that among the backends.\n",
        )


if __name__ == "__main__":
    main()
