"""What we forward is read alike by h11, aiohttp, Node, nginx and HAProxy."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from bgproxy.domain.model import Timeouts
from tests.dataplane.harness import PATIENCE, Proxy, read_head, running, table_of
from tests.wire.test_requests import CHANGED, UNCHANGED

pytest.importorskip("h11")

from tests.wire.readers import reader_port

_HOP_BY_HOP = {
    *("connection", "te", "transfer-encoding", "content-length", "expect", "keep-alive"),
    *("x-request-id", "x-request-start", "x-forwarded-for", "x-forwarded-proto"),
    *("x-forwarded-host",),
}
"""Every server has its own of these; how a body was framed shows in the body."""

Reading = tuple[str, str, list[tuple[str, str]], str]

CASES: list[tuple[str, bytes, bytes]] = [
    *((f"{section} {name}", data, data) for section, name, data in UNCHANGED),
    *((f"{section} {name}", data, expected) for section, name, data, expected in CHANGED),
]

_LLHTTP = {
    "9110 9.1 methods are case-sensitive: 400",
    "9110 9.1 method of odd token bytes: 400",
    "9110 8.6 unknown method with a body: 400",
}
"""llhttp knows a list of methods."""

# What a server may refuse by rules of its own; whatever it takes, it must read as we mean it.
NOT_TAKEN: dict[str, set[str]] = {
    "h11": set(),
    "aiohttp": _LLHTTP,
    "node": _LLHTTP,
    "nginx": {
        "9110 9.1 methods are case-sensitive: 400",
        "9110 9.1 method of odd token bytes: 400",
        "9110 9.3.8 TRACE: 405",
        "9110 7.6.2 Max-Forwards counts down: 405",
        "9110 7.6.2 Max-Forwards beyond what is known: 405",
        "9112 3.2.1 escapes stay as they are: 400",
        "9112 3.2.4 OPTIONS *: 400",
        "9112 3.2.4 OPTIONS of an authority: 400",
    },
    "haproxy": set(),
}


def _plain_reading(raw: bytes) -> Reading:
    """How a request reads for who knows nothing but CRLF, one length and chunks."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines)
    fields = [(name.lower(), value.strip(" \t")) for name, value in pairs]
    text = body.decode("latin-1")
    if ("transfer-encoding", "chunked") in fields:
        text = _payload(text)
    return method, target, _comparable(fields), text


def _payload(text: str) -> str:
    payload = ""
    while size := int(text.partition("\r\n")[0], 16):
        text = text.partition("\r\n")[2]
        payload += text[:size]
        text = text[size + 2 :]
    return payload


def _comparable(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in fields if name not in _HOP_BY_HOP)


async def _told(proxy: Proxy, data: bytes) -> Reading | int:
    """How the backend says that it read a request, or the status with which it was refused."""
    reader, writer = await proxy.connect()
    writer.write(data)
    try:
        async with asyncio.timeout(PATIENCE):
            while (head := await read_head(reader)).startswith(b"HTTP/1.1 1"):
                pass
            if not head.startswith(b"HTTP/1.1 200 "):
                return int(head[9:12])
            length = int(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r")[0])
            text = await reader.readexactly(length)
    finally:
        writer.transport.abort()
    told = json.loads(text)
    names, values = told["fields"][::2], told["fields"][1::2]
    fields = [(n.lower(), v.strip(" \t")) for n, v in zip(names, values, strict=True)]
    return told["method"], told["target"], _comparable(fields), told["body"]


@pytest.mark.parametrize("name", list(NOT_TAKEN))
async def test_is_read_as_we_mean_it(name: str) -> None:
    """Every case of the request tables, through the proxy, as this server reads it."""
    if name in ("node", "nginx", "haproxy") and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    different = {}
    not_taken = set()
    async with reader_port(name) as port:
        table = table_of([port], [], timeouts=Timeouts(connect=5.0))
        async with running(table) as proxy:
            for case, data, expected in CASES:
                if data.startswith(b"HEAD"):
                    continue
                told = await _told(proxy, data)
                if isinstance(told, int):
                    not_taken.add(f"{case}: {told}")
                elif told != _plain_reading(expected):
                    different[case] = told, _plain_reading(expected)
    assert not different
    assert not_taken <= NOT_TAKEN[name]
