"""The access log, error pages, closed services and request ids, through a real worker."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from bgproxy.domain.access_log import AccessLog, LogFormat
from bgproxy.domain.error_pages import ANY_STATUS, ErrorPage
from bgproxy.domain.model import Color, ProxyLimits, ServiceLimits
from bgproxy.state import ledger
from bgproxy.state.entrance import EntranceRoute
from bgproxy.state.table import Closure, RoutingTable
from tests.dataplane.harness import (
    PATIENCE,
    Backend,
    answering,
    echoing,
    read_head,
    running,
    table_of,
)
from tests.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
IN_CHUNKS = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def logged(table: RoutingTable, path: Path, **settings: Any) -> RoutingTable:
    """The same table with an access log."""
    log = AccessLog(str(path), **settings)
    return RoutingTable(table.number, table.services, table.limits, table.trusted_proxies, log)


async def lines_of(path: Path, count: int) -> list[dict[str, Any]]:
    """The entries of a log once there are so many; its worker writes at the tick."""
    deadline = monotonic() + PATIENCE
    while True:
        text = _text(path)
        if text.count("\n") >= count:
            entries = [json.loads(line) for line in text.splitlines()]
            assert len(entries) == count
            return entries
        assert monotonic() < deadline, text
        await asyncio.sleep(0.01)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def test_an_exchange_is_written_with_where_it_went(tmp_path: Path) -> None:
    """Service, environment, generation, backend; the id is the backend's to see as well."""
    backend = await Backend(echoing()).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], [backend.port]), path)) as proxy:
        await proxy.talk(GET)
        await proxy.switch(Color.GREEN)
        answer = await proxy.talk(
            b"POST /up?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Connection: close\r\n\r\nhello"
        )
        first, second = await lines_of(path, 2)
    assert (first["environment"], first["generation"]) == ("blue", 1)
    assert (second["environment"], second["generation"]) == ("green", 2)
    assert second["service"] == "default"
    assert second["backend"] == f"http://127.0.0.1:{backend.port}"
    assert (second["method"], second["path"]) == ("POST", "/up")
    assert (second["client"], second["status"], second["outcome"]) == ("127.0.0.1", 200, "ok")
    assert second["bytes_in"] == 5
    body = answer.partition(b"\r\n\r\n")[2]
    assert second["bytes_out"] == len(body)
    assert f"X-Request-Id: {second['request_id']}\r\n".encode() in body
    assert 0 < second["duration"] < PATIENCE


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b" % IN_CHUNKS,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello worldSURPLUS",
    ],
)
async def test_bytes_are_those_of_the_body(tmp_path: Path, answer: bytes) -> None:
    """However it is framed; a request's chunks count by what is in them."""

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(answer)

    backend = await Backend(answer_and_close).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], []), path)) as proxy:
        await proxy.talk(
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        )
        (entry,) = await lines_of(path, 1)
    assert (entry["bytes_in"], entry["bytes_out"]) == (7, 11)


async def test_failures_name_their_reason(tmp_path: Path) -> None:
    """Refused connections, cut answers, error answers of the backend."""
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf"

    async def answer_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(cut)

    half = await Backend(answer_half).start()
    bad = await Backend(answering(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")).start()
    path = tmp_path / "log"
    table = logged(table_of([half.port], [free_port()]), path)
    async with running(table) as proxy:
        await proxy.talk(GET)
        await proxy.switch(Color.GREEN)
        await proxy.talk(GET)
        await proxy.use(logged(table_of([], [bad.port]), path))
        await proxy.talk(GET)
        entries = await lines_of(path, 3)
    assert [(e["status"], e["outcome"], e["bytes_out"], e.get("detail")) for e in entries] == [
        (200, "truncated", 4, "the backend closed inside its answer"),
        (502, "connect_refused", 0, "Connection refused"),
        (500, "server_error", 0, None),
    ]


async def test_what_no_environment_saw_is_written(tmp_path: Path) -> None:
    """Unreadable heads, unknown services, bodies too large, no backend."""
    path = tmp_path / "log"
    table = table_of([], [], hosts=("known",), limits=ServiceLimits(max_body_bytes=10))
    async with running(logged(table, path)) as proxy:
        await proxy.talk(b'GET /"\n{"a":1} HTTP/1.1\r\n\r\n')
        await proxy.talk(GET)
        await proxy.talk(b"POST /big HTTP/1.1\r\nHost: known\r\nContent-Length: 11\r\n\r\n")
        await proxy.talk(b"GET /none HTTP/1.1\r\nHost: known\r\n\r\n")
        entries = await lines_of(path, 4)
    assert [(e["service"], e["environment"], e["path"], e["outcome"]) for e in entries] == [
        (None, None, "", "bad_request_line"),
        (None, None, "/", "unknown_service"),
        ("default", None, "/big", "body_too_large"),
        ("default", "blue", "/none", "no_backend"),
    ]


async def test_a_redirect_is_written(tmp_path: Path) -> None:
    """With the service that it was for."""
    path = tmp_path / "log"
    entrances = (EntranceRoute(https_port=443),)
    async with running(logged(table_of([], []), path), entrances=entrances) as proxy:
        await proxy.talk(GET)
        (entry,) = await lines_of(path, 1)
    assert (entry["status"], entry["outcome"]) == (308, "redirect")
    assert (entry["service"], entry["environment"]) == ("default", None)


async def test_a_connection_too_many_is_written(tmp_path: Path) -> None:
    """Nothing of it was read, so there is little to say."""
    path = tmp_path / "log"
    table = table_of([], [], proxy_limits=ProxyLimits(max_connections=1))
    async with running(logged(table, path)) as proxy:
        _, first = await proxy.connect()
        await proxy.until(lambda: proxy.ledger.head(0, ledger.CONNECTIONS) == 1)
        await proxy.talk(b"")
        first.close()
        (entry,) = await lines_of(path, 1)
    assert (entry["status"], entry["outcome"], entry["path"]) == (503, "too_many_connections", "")


async def test_a_client_that_goes_is_written(tmp_path: Path) -> None:
    """With 499 where no answer had begun."""

    async def keep_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.read(1)

    backend = await Backend(keep_silent).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], []), path)) as proxy:
        _, writer = await proxy.connect()
        writer.write(GET)
        await backend.until(lambda: bool(backend.received))
        writer.transport.abort()
        (entry,) = await lines_of(path, 1)
    assert (entry["status"], entry["outcome"]) == (499, "client_abort")


async def test_a_tunnel_is_written_at_its_end(tmp_path: Path) -> None:
    """With the bytes of both directions."""

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        writer.write(await reader.readexactly(5) * 2)

    backend = await Backend(upgrade).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], []), path)) as proxy:
        await proxy.talk(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello"
        )
        (entry,) = await lines_of(path, 1)
    assert (entry["status"], entry["outcome"]) == (101, "ok")
    assert (entry["bytes_in"], entry["bytes_out"]) == (5, 10)


async def test_a_sample_keeps_every_failure(tmp_path: Path) -> None:
    """None of what went well at 0 %, all of what did not."""
    backend = await Backend(answering(OK)).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], []), path, sample=0.0)) as proxy:
        for _ in range(5):
            await proxy.talk(GET)
        await proxy.talk(b"GARBAGE\r\n\r\n")
        (entry,) = await lines_of(path, 1)
    assert entry["status"] == 400


async def test_the_log_follows_the_table(tmp_path: Path) -> None:
    """On, in another form, and off, without a restart."""
    backend = await Backend(answering(OK)).start()
    path = tmp_path / "log"
    table = table_of([backend.port], [])
    async with running(table) as proxy:
        await proxy.talk(GET)
        await proxy.use(logged(table, path))
        await proxy.talk(GET)
        await lines_of(path, 1)
        await proxy.use(logged(table, path, format=LogFormat.COMBINED))
        await proxy.talk(GET)
        await until(lambda: path.read_text().count("\n") == 2)
        await proxy.use(table)
        await proxy.talk(GET)
    text = path.read_text()
    assert text.count("\n") == 2
    assert '"GET / HTTP/1.1" 200 2 "-" "-" default blue 1 ' in text


async def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_lines_that_are_lost_are_counted(tmp_path: Path) -> None:
    """A file that cannot be opened stops no request."""
    backend = await Backend(answering(OK)).start()
    path = tmp_path / "missing" / "log"
    async with running(logged(table_of([backend.port], []), path)) as proxy:
        assert (await proxy.talk(GET)).startswith(b"HTTP/1.1 200 ")
        await proxy.until(lambda: proxy.ledger.head_total(ledger.LOG_LINES_LOST) == 1)


async def test_nothing_is_lost_when_a_worker_ends(tmp_path: Path) -> None:
    """What has gathered is written before it goes."""
    backend = await Backend(answering(OK)).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], []), path)) as proxy:
        for _ in range(20):
            await proxy.talk(GET)
    assert path.read_text().count("\n") == 20


async def test_behind_a_trusted_proxy_the_client_is_whom_it_names(tmp_path: Path) -> None:
    """From the end of X-Forwarded-For the first address that is not trusted itself."""
    backend = await Backend(answering(OK)).start()
    path = tmp_path / "log"
    table = table_of([backend.port], [], trusted_proxies=("127.0.0.0/8",))
    forwarded = b"X-Forwarded-For: 6.6.6.6, 192.0.2.7, 127.0.0.9\r\n"
    async with running(logged(table, path)) as proxy:
        await proxy.talk(GET.replace(b"Host", forwarded + b"Host"))
        (entry,) = await lines_of(path, 1)
    assert entry["client"] == "192.0.2.7"


# -- request ids ----------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [b"a", b"01HX-_.~+/=@:9", b"x" * 128])
async def test_a_clients_request_id_is_kept(tmp_path: Path, own: bytes) -> None:
    """One that is short and plain goes to the backend as it came, once, and into the log."""
    backend = await Backend(echoing()).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], []), path)) as proxy:
        answer = await proxy.talk(GET.replace(b"Host", b"X-Request-ID: %b\r\nHost" % own))
        (entry,) = await lines_of(path, 1)
    assert re.findall(rb"(?i)x-request-id: ([^\r]*)", answer) == [own]
    assert entry["request_id"] == own.decode()


@pytest.mark.parametrize("own", [b"", b"x" * 129, b'"a"', b"a b", b"\xe9", b"a, b", b"a\\"])
async def test_an_odd_request_id_is_replaced(tmp_path: Path, own: bytes) -> None:
    """Too long, or with characters that could mean something in a log."""
    backend = await Backend(echoing()).start()
    path = tmp_path / "log"
    async with running(logged(table_of([backend.port], []), path)) as proxy:
        answer = await proxy.talk(GET.replace(b"Host", b"X-Request-ID: %b\r\nHost" % own))
        (entry,) = await lines_of(path, 1)
    (seen,) = re.findall(rb"(?i)x-request-id: ([^\r]*)", answer)
    assert re.fullmatch(rb"[0-9a-f]{13,}", seen)
    assert entry["request_id"] == seen.decode()


async def test_two_request_ids_make_none() -> None:
    """Which of them would it be?"""
    backend = await Backend(echoing()).start()
    async with running(table_of([backend.port], [])) as proxy:
        both = b"X-Request-Id: a\r\nX-Request-Id: b\r\nHost"
        answer = await proxy.talk(GET.replace(b"Host", both))
    (seen,) = re.findall(rb"(?i)x-request-id: ([^\r]*)", answer)
    assert re.fullmatch(rb"[0-9a-f]{13,}", seen)


async def test_traceparent_passes_untouched() -> None:
    """The backend's span hangs where the client's says (W3C Trace Context)."""
    backend = await Backend(echoing()).start()
    trace = (
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        b"tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE\r\n"
    )
    async with running(table_of([backend.port], [])) as proxy:
        answer = await proxy.talk(GET.replace(b"Host", trace + b"Host"))
    assert trace in answer


# -- error pages ----------------------------------------------------------------------------------

PAGES = (
    ErrorPage(503, "busy.html", b"<p>busy: {{detail}} {{ reason }} {{other}}</p>"),
    ErrorPage(ANY_STATUS, "error.html", b"<p>{{status}} {{title}}</p>"),
)


async def asked(proxy: Any, accept: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer to a GET that accepts something."""
    answer = await proxy.talk(GET.replace(b"Host", b"Accept: %b\r\nHost" % accept))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def test_who_asks_for_html_gets_the_services_page() -> None:
    """Others get what they always got; the length is right and Proxy-Status stays."""
    async with running(table_of([], [], error_pages=PAGES)) as proxy:
        head, body = await asked(proxy, b"text/html,*/*;q=0.8")
        _, as_json = await asked(proxy, b"application/json")
        _, as_text = await asked(proxy, b"*/*")
    assert body == b"<p>busy: the active environment has no backend no_backend {{other}}</p>"
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert b"\r\nProxy-Status: bgproxy; error=destination_unavailable;" in head
    assert b"\r\nRetry-After: 1\r\n" in head
    assert json.loads(as_json)["reason"] == "no_backend"
    assert as_text.startswith(b"503 Service Unavailable: ")


async def test_a_status_without_a_page_of_its_own_gets_the_default() -> None:
    """Refused connections are 502."""
    async with running(table_of([free_port()], [], error_pages=PAGES)) as proxy:
        head, body = await asked(proxy, b"text/html")
    assert head.startswith(b"HTTP/1.1 502 ")
    assert body == b"<p>502 Bad Gateway</p>"


async def test_a_request_without_a_service_gets_no_services_page() -> None:
    """Not even that of the service that its connection carried a request for before."""
    backend = await Backend(answering(OK)).start()
    table = table_of([backend.port], [], hosts=("x",), error_pages=PAGES)
    async with running(table) as proxy:
        answer = await proxy.talk(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET / HTTP/1.1\r\nHost: other\r\nAccept: text/html\r\n\r\n"
        )
    assert b"404 Not Found" in answer
    assert b"<p>404" not in answer
    assert b"unknown_service" in answer


# -- maintenance ----------------------------------------------------------------------------------


async def test_a_closed_service_answers_503_to_everybody_else() -> None:
    """With the message, when to come back, and nothing of it at the backend."""
    backend = await Backend(answering(OK)).start()
    closure = Closure("Back at <14:00>.", ("192.0.2.0/24",), "/healthz")
    async with running(table_of([backend.port], [], closure=closure)) as proxy:
        head, body = await asked(proxy, b"text/html")
        health = await proxy.talk(GET.replace(b"/ ", b"/healthz?x ", 1))
        assert proxy.totals().requests == 1
        await proxy.change(closure=None)
        opened = await proxy.talk(GET)
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 60\r\n" in head
    assert b'details="maintenance"' in head
    assert b"Back at &lt;14:00&gt;." in body
    assert health.startswith(b"HTTP/1.1 200 ")
    assert opened.startswith(b"HTTP/1.1 200 ")


async def test_the_listed_pass_by_their_own_address() -> None:
    """The peer's, or the one that a trusted proxy names; nobody can name one for himself."""
    backend = await Backend(answering(OK)).start()
    closure = Closure("closed", ("127.0.0.1", "192.0.2.0/24"), "/healthz")
    named = GET.replace(b"Host", b"X-Forwarded-For: 192.0.2.7\r\nHost")
    other = GET.replace(b"Host", b"X-Forwarded-For: 203.0.113.9\r\nHost")
    async with running(table_of([backend.port], [], closure=closure)) as proxy:
        assert (await proxy.talk(other)).startswith(b"HTTP/1.1 200 ")
        await proxy.change(closure=Closure("closed", ("192.0.2.0/24",), "/healthz"))
        assert (await proxy.talk(named)).startswith(b"HTTP/1.1 503 ")
    backend = await Backend(answering(OK)).start()
    trusting = table_of([backend.port], [], closure=closure, trusted_proxies=("127.0.0.1",))
    async with running(trusting) as proxy:
        assert (await proxy.talk(other)).startswith(b"HTTP/1.1 503 ")
        assert (await proxy.talk(named)).startswith(b"HTTP/1.1 200 ")
