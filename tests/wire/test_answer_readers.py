"""What we answer is read alike by h11, aiohttp and Node, and by nginx and HAProxy before us."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest

from tests.dataplane.harness import PATIENCE
from tests.wire.test_responses import _GET, CHANGED, UNCHANGED
from tests.wire.wire import dated, unchunked, wired

pytest.importorskip("h11")

from tests.wire.readers import Answer, answer_reader

CASES: list[tuple[str, bytes, bytes]] = [
    *((f"{section} {name}", a, a) for section, name, request, a in UNCHANGED if request == _GET),
    *((f"{section} {name}", a, e) for section, name, request, a, e in CHANGED if request == _GET),
    (
        "9112 6.3 the close ends it",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ),
]

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"}
_NGINX_OWN = {"server", "date"}


def _plain_reading(raw: bytes) -> Answer:
    """How a final answer reads for who knows nothing but CRLF, one length and chunks."""
    while re.match(rb"HTTP/1\.1 1", raw):
        raw = raw.partition(b"\r\n\r\n")[2]
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    fields = sorted((name.lower(), value.strip(" \t")) for name, value in pairs)
    if ("transfer-encoding", "chunked") in fields:
        body = unchunked(body)
    return int(first.split(" ")[1]), fields, body.decode("latin-1")


def _comparable(answer: Answer) -> Answer:
    status, fields, body = answer
    ignored = _HOP_BY_HOP | _NGINX_OWN
    return status, [(name, value) for name, value in fields if name not in ignored], body


@pytest.mark.parametrize("name", ["h11", "aiohttp", "node", "nginx", "haproxy"])
async def test_is_read_as_the_backend_meant_it(name: str) -> None:
    """Every case of the answer tables, through the proxy, as this client reads it."""
    if name in ("node", "nginx", "haproxy") and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    different = {}
    async with wired() as wire, answer_reader(name, wire.proxy.port) as ask:
        for case, answer, expected in CASES:
            wire.answer = dated(answer)
            async with asyncio.timeout(PATIENCE):
                told = await ask(wire.proxy.port)
            if _comparable(told) != _comparable(_plain_reading(dated(expected))):
                different[case] = told, _plain_reading(dated(expected))
    assert not different
