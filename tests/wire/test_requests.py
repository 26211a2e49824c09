"""Requests that are carried: what arrives at the backend, to the byte."""
# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import re

import pytest

from tests.dataplane.harness import read_head
from tests.wire.wire import OK, Wire, wired

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HOST = b"Host: x\r\n"


def _get(target: bytes = b"/", fields: bytes = _HOST, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %b %b\r\n%b\r\n" % (target, version, fields)


def _with(fields: bytes) -> bytes:
    return _get(fields=_HOST + fields)


def _post(fields: bytes, body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (fields, body)


_TE = b"Transfer-Encoding: chunked\r\n"
_5 = b"5\r\nhello\r\n"

UNCHANGED: list[tuple[str, str, bytes]] = [
    ("9112 3.2.1", "escapes stay as they are", _get(b"/%7Euser/%2e%2E/%2F%zz?%20=+&&x=")),
    ("9112 3.2.1", "dots and slashes stay", _get(b"//a/./../b//..;p=1/")),
    ("9112 3.2.1", "what browsers do not escape", _get(b"/a|b^c`{d}\"<e>\\f?[g]'h'")),
    ("9112 3.2.1", "question marks", _get(b"/?a?b??")),
    ("9112 3.2.4", "OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("9112 3", "target of 8,000 bytes", _get(b"/" + b"a" * 8000)),
    ("9110 9.1", "unknown method", b"PURGE /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("9110 9.1", "method of odd token bytes", b"M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("9110 9.1", "methods are case-sensitive", b"get / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("9110 9.3.8", "TRACE", b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("9110 5.3", "order and repetition", _with(b"B: 1\r\nA: 2\r\nb: 3\r\nB: 4\r\n")),
    ("9110 5.5", "no value", _with(b"A:\r\nB: \r\n")),
    ("9110 5.5", "white space inside and around", _with(b"A:1\r\nB:  2 \t 3\t\r\n")),
    ("9110 5.5", "latin-1 and UTF-8", _with(b"A: caf\xe9\r\nB: caf\xc3\xa9\r\n")),
    ("9110 5.5", "a value of 16 KiB", _with(b"Cookie: " + b"c" * 16384 + b"\r\n")),
    ("9110 5.1", "name of odd token bytes", _with(b"!#$%&'*+-.^_`|~9: 1\r\n")),
    ("9110 5.1", "plain underscores", _with(b"my_field: 1\r\n")),
    ("9112 3.2", "Host spelled anyhow, anywhere", _get(fields=b"A: 1\r\nhOsT:x.Example:8080\r\n")),
    ("3986 3.2.2", "IPv6 literal", _get(fields=b"Host: [::1]:8080\r\n")),
    ("9110 8.6", "GET with a body", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    ("9110 8.6", "DELETE with a body", b"DELETE / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    ("9110 8.6", "HEAD with a body", b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    ("9110 8.6", "unknown method with a body", b"FOO / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
    ("9110 8.6", "POST of nothing", _post(b"Content-Length: 0\r\n", b"")),
    ("9110 8.6", "POST without framing", _post(b"", b"")),
    ("9110 8.6", "body of every byte", _post(b"Content-Length: 256\r\n", bytes(range(256)))),
    ("9112 7.1", "chunks", _post(_TE, b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")),
    ("9112 7.1", "no payload", _post(_TE, b"0\r\n\r\n")),
    ("9112 7.1", "upper-case size", _post(_TE, b"A\r\n0123456789\r\n0\r\n\r\n")),
    ("9112 7.1", "CRLF as payload", _post(_TE, b"4\r\n\r\n\r\n\r\n0\r\n\r\n")),
    ("9112 7.1.2", "trailers", _post(_TE, _5 + b"0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n")),
    ("9112 7.1", "GET in chunks", b"GET / HTTP/1.1\r\nHost: x\r\n" + _TE + b"\r\n" + _5 + b"0\r\n\r\n"),
    ("9110 7.6.3", "Via of others", _with(b"Via: 1.1 a, 1.0 b\r\n")),
    ("9110 11.7.1", "Proxy-Authorization", _with(b"Proxy-Authorization: Basic eDp5\r\n")),
    ("9110 10.1.1", "Expect without a body", _with(b"Expect: 100-continue\r\n")),
    ("9110 7.6.2", "Max-Forwards of GET", _with(b"A: 1\r\n")),
    ("9110 13", "conditions", _with(b'If-None-Match: "a", W/"b"\r\nRange: bytes=0-1\r\n')),
]  # fmt: skip


@pytest.mark.parametrize(
    "data", [pytest.param(data, id=f"{section} {name}") for section, name, data in UNCHANGED]
)
async def test_arrives_as_sent(wire: Wire, data: bytes) -> None:
    """Every byte of the request is the client's, but for the fields that are the proxy's own."""
    answer = await wire.send(data)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
    (seen,) = wire.forwarded()
    assert seen == data


CHANGED: list[tuple[str, str, bytes, bytes]] = [
    ("9112 2.3", "HTTP/1.0 becomes 1.1", _get(version=b"HTTP/1.0"), _get()),
    ("9110 2.5", "HTTP/1.2 becomes 1.1", _get(version=b"HTTP/1.2"), _get()),
    ("9110 2.5", "HTTP/1.9 becomes 1.1", _get(version=b"HTTP/1.9"), _get()),
    ("9112 2.2", "empty line before", b"\r\n" + _get(), _get()),
    ("9112 3.2.2", "absolute-form", _get(b"http://x/a?b"), _get(b"/a?b")),
    ("9112 3.2.2", "absolute-form overrides Host", _get(b"http://y:81/a", b"A: 1\r\nHost: x\r\nB: 2\r\n"),
     _get(b"/a", b"A: 1\r\nHost: y:81\r\nB: 2\r\n")),
    ("9112 3.2.2", "absolute-form without a path", _get(b"http://x"), _get(b"/")),
    ("9112 3.2.2", "absolute-form with a query alone", _get(b"http://x?a=/b"), _get(b"/?a=/b")),
    ("9112 3.2.2", "scheme in capitals", _get(b"HTTP://x/a"), _get(b"/a")),
    ("9112 3.2.4", "OPTIONS of an authority", b"OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n",
     b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("9110 8.6", "length with zeros", _post(b"Content-Length: 005\r\n", b"hello"),
     _post(b"Content-Length: 5\r\n", b"hello")),
    ("9112 6.1", "coding in capitals", _post(b"tRANSFER-eNCODING: CHUNKED\r\n", _5 + b"0\r\n\r\n"),
     _post(_TE, _5 + b"0\r\n\r\n")),
    ("9112 7.1", "size with zeros", _post(_TE, b"0005\r\nhello\r\n000\r\n\r\n"), _post(_TE, _5 + b"0\r\n\r\n")),
    ("9112 7.1", "size with more zeros than a number has digits", _post(_TE, b"0" * 30 + b"5\r\nhello\r\n0\r\n\r\n"),
     _post(_TE, _5 + b"0\r\n\r\n")),
    ("9112 7.1.1", "extensions", _post(_TE, b'5;a;b=c;d="e f"\r\nhello\r\n0;x\r\n\r\n'),
     _post(_TE, _5 + b"0\r\n\r\n")),
    ("9112 7.1.1", "white space before an extension", _post(_TE, b"5 ; a = b\r\nhello\r\n0\r\n\r\n"),
     _post(_TE, _5 + b"0\r\n\r\n")),
    ("9110 6.5.1", "trailers that frame, route or let in", _post(
        _TE, _5 + b"0\r\nContent-Length: 9\r\nHost: y\r\nAuthorization: a\r\nX-Forwarded-For: b\r\n"
        b"Transfer-Encoding: chunked\r\nX-Real-IP: c\r\nX-Sum: 1\r\nContent_Length: 9\r\n\r\n"),
     _post(_TE, _5 + b"0\r\nX-Sum: 1\r\n\r\n")),
    ("9110 7.6.1", "hop-by-hop fields", _with(
        b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n"
        b"TE: gzip\r\nUpgrade: websocket\r\nA: 1\r\n"), _with(b"A: 1\r\n")),
    ("9110 7.6.1", "fields that Connection names", _with(
        b"X-Hop: 1\r\nConnection: x-hop, X-OTHER\r\nx-other: 2\r\nx-hop: 3\r\nA: 1\r\n"), _with(b"A: 1\r\n")),
    ("9110 7.6.1", "Connection in two fields", _with(
        b"Connection: a\r\nA: 1\r\nB: 2\r\nConnection: b,,\r\nC: 3\r\n"), _with(b"C: 3\r\n")),
    ("9110 7.6.1", "Connection cannot name what is for both ends", _with(
        b"Connection: Host, Cookie, Authorization, Content-Length, close\r\nCookie: a\r\n"
        b"Authorization: b\r\n"), _with(b"Cookie: a\r\nAuthorization: b\r\n")),
    ("9110 10.1.4", "TE: trailers", _with(b"TE: trailers, deflate;q=0.5\r\nConnection: TE\r\n"),
     _with(b"Connection: TE\r\nTE: trailers\r\n")),
    ("9110 7.8", "Upgrade of an HTTP/1.0 client", _get(
        fields=_HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n", version=b"HTTP/1.0"), _get()),
    ("9110 7.8", "Upgrade that Connection does not name", _with(b"Upgrade: websocket\r\n"), _get()),
    ("9110 10.1.1", "Expect of an HTTP/1.0 client", _get(
        fields=_HOST + b"Expect: 100-continue\r\n", version=b"HTTP/1.0"), _get()),
    ("9110 5.6.1", "Expect of an empty list", _post(b"Expect: ,\r\nContent-Length: 5\r\n", b"hello"),
     _post(b"Content-Length: 5\r\n", b"hello")),
    ("9110 7.6.2", "Max-Forwards counts down", b"TRACE / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 10\r\n\r\n",
     b"TRACE / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 9\r\n\r\n"),
    ("9110 7.6.2", "Max-Forwards beyond what is known", b"TRACE / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 99999999999\r\n\r\n",
     b"TRACE / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 999999998\r\n\r\n"),
    ("9110 7.6.2", "Max-Forwards: 1", b"OPTIONS /a HTTP/1.1\r\nMax-Forwards: 1\r\nHost: x\r\n\r\n",
     b"OPTIONS /a HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n"),
    ("9110 4.2.4", "whence a stranger says he comes", _with(
        b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
        b"X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /a\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n"
        b"X-Request-Start: t=1\r\n"), _get()),
    ("3875 4.1.18", "shadows of what is ours", _with(
        b"X_Forwarded_For: 1\r\nX_Forwarded-For: 1\r\nX-Forwarded_Proto: https\r\nX_Real_IP: 2\r\n"
        b"X_Request_Id: 3\r\nHTTP_HOST: ok\r\n"), _with(b"HTTP_HOST: ok\r\n")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "expected"),
    [pytest.param(a, b, id=f"{section} {name}") for section, name, a, b in CHANGED],
)
async def test_arrives_as_the_rfc_has_it(wire: Wire, data: bytes, expected: bytes) -> None:
    """What a proxy must take out, add or put in its own words."""
    answer = await wire.send(data)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
    (seen,) = wire.forwarded()
    assert seen == expected


async def test_every_split_of_a_request_arrives_alike(wire: Wire) -> None:
    """A head and its body may come in any two pieces (RFC 9112 section 2.2)."""
    data = _post(_TE + b"Connection: close\r\n", b"5;x\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    expected = _post(_TE, _5 + b"0\r\nX-Sum: 1\r\n\r\n")
    for cut in range(1, len(data), 3):
        reader, writer = await wire.pair()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(6, 1, 1)
        writer.write(data[:cut])
        await wire.settle()
        writer.write(data[cut:])
        assert (await reader.read(-1)).endswith(b"\r\n\r\nok")
        writer.close()
    assert wire.forwarded() == [expected] * len(range(1, len(data), 3))


async def test_pipelined_behind_a_body_and_a_chunked_one(wire: Wire) -> None:
    """What follows a body's last byte is the next request, whatever the packets (RFC 9112 9.3.2)."""
    requests = [
        _post(b"Content-Length: 5\r\n", b"hello"),
        _get(b"/1"),
        _post(_TE, _5 + b"0\r\n\r\n"),
        _get(b"/2"),
        _post(b"Content-Length: 0\r\n", b""),
        _get(b"/3"),
    ]
    answer = await wire.send(b"".join(requests))
    assert answer.count(b"\r\n\r\nok") == 6
    assert wire.forwarded() == requests


async def test_connection_that_carried_trailers_carries_no_other_request(wire: Wire) -> None:
    """A backend may take a trailer for a field of the next request: aiohttp 3.14 does."""
    await wire.send(_get())
    connections = wire.backend.connections
    await wire.send(_post(_TE, _5 + b"0\r\nX-User: admin\r\n\r\n") + _get(b"/next"))
    assert wire.forwarded()[1:] == [
        _post(_TE, _5 + b"0\r\nX-User: admin\r\n\r\n"),
        _get(b"/next"),
    ]
    assert wire.backend.connections == connections + 1


async def test_pipelined_behind_a_large_body(wire: Wire) -> None:
    """The last packet of an upload carries the beginning of the next request."""
    first = _post(b"Content-Length: 300000\r\n", bytes(300000))
    answer = await wire.send(first + _get(b"/next") * 20)
    assert answer.count(b"\r\n\r\nok") == 21
    assert wire.forwarded() == [first] + [_get(b"/next")] * 20


async def test_pipelined_behind_close_is_not_read(wire: Wire) -> None:
    """A client that said close has ended its requests (RFC 9112 section 9.6)."""
    answer = await wire.send(_with(b"Connection: close\r\n") + _get(b"/no"))
    assert answer.count(b"HTTP/1.1 200") == 1
    assert len(wire.requests) == 1


async def test_pipelined_behind_an_error_is_not_read(wire: Wire) -> None:
    """An answered request keeps its answer; what follows a refused one is nobody's."""
    answer = await wire.send_open(_get(b"/1") + b"GET / HTTP/1.1\r\n\r\n" + _get(b"/2"))
    assert re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer) == [b"200", b"400"]
    assert wire.forwarded() == [_get(b"/1")]


async def test_old_clients_are_kept_if_they_ask(wire: Wire) -> None:
    """HTTP/1.0: close by default, kept where keep-alive is said and the length is known."""
    plain = await wire.send_open(b"GET / HTTP/1.0\r\n\r\n")
    assert b"keep-alive" not in plain.lower()
    reader, writer = await wire.pair()
    for _ in range(2):
        writer.write(b"GET / HTTP/1.0\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n")
        head = await read_head(reader)
        assert b"\r\nConnection: keep-alive\r\n" in head
        assert await reader.readexactly(2) == b"ok"
    writer.close()


async def test_request_id_of_the_client_is_kept_once(wire: Wire) -> None:
    """One id per request, the client's if it has one; ours differ."""
    await wire.send(_with(b"X-Request-ID: mine\r\n") + _get() + _get())
    ids = [re.findall(rb"(?im)^x-request-id: ([^\r]*)", r) for r in wire.requests]
    assert ids[0] == [b"mine"]
    assert len(ids[1]) == len(ids[2]) == 1
    assert ids[1] != ids[2]


async def test_old_client_without_host_gets_the_backends(wire: Wire) -> None:
    """HTTP/1.1 needs a Host, so the backend's own address stands in (RFC 9112 section 3.2)."""
    await wire.send(b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nHost: 127.0.0.1:%d\r\n" % wire.backend.port in wire.requests[0]
    assert b"X-Forwarded-Host" not in wire.requests[0]


async def test_used_up_max_forwards_is_answered_here(wire: Wire) -> None:
    """TRACE shows the request without secrets, OPTIONS says yes; no backend sees either."""
    fields = b"Host: x\r\nmax-forwards: 0\r\nCookie: a\r\nauthorization: b\r\nA: 1\r\n\r\n"
    trace = await wire.send(b"TRACE /a HTTP/1.1\r\n" + fields)
    head, _, body = trace.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\n")
    assert body == b"TRACE /a HTTP/1.1\r\nHost: x\r\nmax-forwards: 0\r\nA: 1\r\n\r\n"
    options = await wire.send(b"OPTIONS * HTTP/1.1\r\n" + fields)
    assert options.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
    assert not wire.requests


async def test_trusted_peers_are_believed_and_their_list_extended() -> None:
    """What a load balancer in front says about the client is kept (RFC 7239 section 7.4)."""
    async with wired(trusted_proxies=("127.0.0.0/8",)) as wire:
        await wire.send(
            _with(
                b"X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n"
                b"X-Forwarded-Host: shop\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 1.2.3.4\r\n"
                b"Forwarded: for=1.2.3.4;proto=https\r\n"
            )
        )
    lines = wire.requests[0].split(b"\r\n")
    assert b"X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1" in lines
    assert b"X-Forwarded-Proto: https" in lines
    assert b"X-Forwarded-Host: shop" in lines
    assert b"X-Forwarded-Port: 443" in lines
    assert b"X-Real-IP: 1.2.3.4" in lines
    assert b'Forwarded: for=1.2.3.4;proto=https, for=127.0.0.1;proto=http;host="x"' in lines
    assert sum(line.lower().startswith(b"x-forwarded-for:") for line in lines) == 1


async def test_expectation_unmet_is_passed_on(wire: Wire) -> None:
    """A backend may answer instead of asking for the body; the upload then never comes."""

    async def refuse(reader, writer):
        writer.write(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    wire.answer = refuse
    answer = await wire.send_open(_post(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b""))
    assert answer.startswith(b"HTTP/1.1 417 No\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_answer_of_a_head_keeps_its_length_and_has_no_body(wire: Wire) -> None:
    """The length of an answer to HEAD speaks of GET's (RFC 9110 section 9.3.2)."""

    async def answer(reader, writer):
        writer.write(OK[:-2])
        await read_head(reader)
        writer.write(OK)
        await writer.drain()

    wire.answer = answer
    seen = await wire.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + _get())
    assert seen.count(b"Content-Length: 2\r\n") == 2
    assert seen.count(b"ok") == 1
