"""Tracing: what backends are told, and what a real collector is sent."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bgproxy.domain.model import Color
from bgproxy.domain.tracing import Tracing
from bgproxy.state import ledger
from bgproxy.state.table import RoutingTable
from tests.dataplane.harness import (
    Backend,
    Proxy,
    answering,
    echoing,
    read_head,
    running,
    table_of,
)
from tests.dataplane.otlp import Collector, attributes, collecting

TRACE, SENDER = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
SAMPLED = b"00-%b-%b-01" % (TRACE, SENDER)
MALFORMED = (
    SAMPLED.upper(),
    SAMPLED + b"-more",
    b"ff" + SAMPLED[2:],
    b"00-%b-%b-01" % (b"0" * 32, SENDER),
    b"00-%b-%b-01" % (TRACE, b"0" * 16),
    SAMPLED[:-1],
    SAMPLED + b"\r\ntraceparent: " + SAMPLED,
)
GET = b"GET /a/b?secret=1 HTTP/1.1\r\nHost: shop.test:8080\r\nConnection: close\r\n%b\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"


def traced(table: RoutingTable, collector: Collector, **settings: Any) -> RoutingTable:
    """The table with tracing."""
    return dataclasses.replace(table, tracing=Tracing(collector.endpoint, **settings))


@contextlib.asynccontextmanager
async def tracing(
    handler: Any = None, **settings: Any
) -> AsyncIterator[tuple[Proxy, Backend, Collector]]:
    """A proxy that traces, a backend, and a collector."""
    async with collecting() as collector:
        backend = await Backend(handler or answering(OK)).start()
        async with running(traced(table_of([backend.port], []), collector, **settings)) as proxy:
            yield proxy, backend, collector


def told(backend: Backend, name: bytes = b"traceparent") -> list[bytes]:
    """The values of a field in what a backend received last."""
    return re.findall(rb"(?im)^%b: *([^\r]*)\r$" % name, backend.received[-1])


def has_loaded_the_sdk(proxy: Proxy) -> bool:
    """Whether the worker has what spans are encoded with."""
    pid = proxy.fleet.workers_view()[0]["pid"]
    return "google/_upb" in Path(f"/proc/{pid}/maps").read_text()


async def test_a_request_is_a_span_that_tells_all_the_conventions_ask_for() -> None:
    """By the names of OpenTelemetry, and our own for what these do not have."""
    async with tracing(echoing(), service_name="edge", attributes=(("a.b", "c"),)) as parts:
        proxy, backend, collector = parts
        await proxy.talk(
            b"POST /a/b?secret=1 HTTP/1.1\r\nHost: shop.test:8080\r\nUser-Agent: curl/8\r\n"
            b"X-Request-Id: mine\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        )
        (span,) = await collector.until(1)
        size = len(b"".join(backend.received))
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.request.body.size": 5,
        "http.response.body.size": size,
        "http.response.status_code": 200,
        "url.path": "/a/b",
        "url.scheme": "http",
        "server.address": "shop.test",
        "server.port": 8080,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
        "bgproxy.service": "default",
        "bgproxy.environment": "blue",
        "bgproxy.generation": 1,
        "bgproxy.backend": f"http://127.0.0.1:{backend.port}",
        "bgproxy.outcome": "ok",
        "bgproxy.request_id": "mine",
    }
    assert span.name == "POST"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10e9
    assert collector.resource["service.name"] == "edge"
    assert collector.resource["a.b"] == "c"


async def test_the_backend_is_told_our_span_and_ours_is_the_senders_child() -> None:
    """One trace from the client over us to the backend; tracestate goes with it."""
    async with tracing() as (proxy, backend, collector):
        await proxy.talk(GET % (b"TraceParent: %b\r\ntracestate: a=1\r\n" % SAMPLED))
        (span,) = await collector.until(1)
    assert span.trace_id.hex().encode() == TRACE
    assert span.parent_span_id.hex().encode() == SENDER
    assert span.trace_state == "a=1"
    assert told(backend) == [b"00-%b-%b-01" % (TRACE, span.span_id.hex().encode())]
    assert told(backend, b"tracestate") == [b"a=1"]


async def test_a_trace_begins_here_where_the_client_has_none() -> None:
    """Its number is the one that the backend is told."""
    async with tracing() as (proxy, backend, collector):
        await proxy.talk(GET % b"")
        (span,) = await collector.until(1)
    assert not span.parent_span_id
    assert told(backend) == [
        b"00-%b-%b-01" % (span.trace_id.hex().encode(), span.span_id.hex().encode())
    ]


async def test_a_malformed_parent_begins_another_trace_without_its_state() -> None:
    """W3C Trace Context section 4.3: both fields are replaced."""
    async with tracing() as (proxy, backend, collector):
        parents = []
        for malformed in MALFORMED:
            await proxy.talk(GET % (b"traceparent: %b\r\ntracestate: a=1\r\n" % malformed))
            assert told(backend, b"tracestate") == []
            parents += told(backend)
        spans = await collector.until(len(MALFORMED))
    assert not any(span.parent_span_id for span in spans)
    assert [parent.split(b"-")[1].decode() for parent in parents] == [
        span.trace_id.hex() for span in spans
    ]
    assert TRACE.decode() not in [span.trace_id.hex() for span in spans]


async def test_a_parent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """W3C Trace Context section 3.2.4."""
    async with tracing() as (proxy, backend, collector):
        await proxy.talk(GET % (b"traceparent: cc%b-what-ever\r\n" % SAMPLED[2:]))
        (span,) = await collector.until(1)
    assert span.parent_span_id.hex().encode() == SENDER
    assert told(backend)[0].startswith(b"00-%b-" % TRACE)


async def test_a_trace_that_its_sender_does_not_record_passes_untouched() -> None:
    """Nobody would find our span in it; one begun here afterwards is the only one that comes."""
    async with tracing() as (proxy, backend, collector):
        await proxy.talk(GET % (b"traceparent: %b00\r\n" % SAMPLED[:-2]))
        assert told(backend) == [SAMPLED[:-2] + b"00"]
        await proxy.talk(GET % b"")
        (span,) = await collector.until(1)
    assert span.trace_id.hex().encode() != TRACE


async def test_what_is_not_sampled_tells_the_backend_so() -> None:
    """A trace begun here that is not recorded is marked, and the next hop need not guess."""
    async with tracing(sample=0.0) as (proxy, backend, collector):
        await proxy.talk(GET % b"")
        (parent,) = told(backend)
        assert parent.endswith(b"-00")
        await proxy.talk(GET % (b"traceparent: %b\r\n" % SAMPLED))
        (span,) = await collector.until(1)
    assert span.trace_id.hex().encode() == TRACE


async def test_without_tracing_both_fields_pass_as_they_came() -> None:
    """Malformed ones, too: a proxy that takes no part changes nothing."""
    backend = await Backend(answering(OK)).start()
    async with running(table_of([backend.port], [])) as proxy:
        for parent in (SAMPLED, b"nonsense"):
            await proxy.talk(GET % (b"traceparent: %b\r\ntracestate: a=1\r\n" % parent))
            assert told(backend) == [parent]
            assert told(backend, b"tracestate") == [b"a=1"]


async def test_failures_are_errors_and_the_clients_faults_are_not() -> None:
    """The backend's 500, its reset, an unknown method's 404, a client that goes away."""

    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if head.startswith(b"GET /500"):
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        elif head.startswith(b"BREW"):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif head.startswith(b"GET /wait"):
            await reader.read(1)

    async with tracing(fail) as (proxy, backend, collector):
        for line in (b"GET /500", b"POST /reset", b"BREW /"):
            await proxy.talk(b"%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % line)
        _, writer = await proxy.connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await backend.until(lambda: any(b"/wait" in each for each in backend.received))
        writer.transport.abort()
        spans = await collector.until(4)
    seen = [(span.status.code == Status.STATUS_CODE_ERROR, attributes(span)) for span in spans]
    names = ("http.response.status_code", "error.type", "bgproxy.outcome", "http.request.method")
    assert [(is_error, *(each.get(name) for name in names)) for is_error, each in seen] == [
        (True, 500, "500", "server_error", "GET"),
        (True, 502, "reset", "reset", "POST"),
        (False, 404, None, "ok", "_OTHER"),
        (False, None, "client_abort", "client_abort", "GET"),
    ]
    assert [span.name for span in spans] == ["GET", "POST", "HTTP", "GET"]


async def test_requests_that_no_backend_sees_are_spans_too() -> None:
    """Refused, for want of a service or of a backend."""
    async with tracing() as (proxy, _, collector):
        await proxy.switch(Color.GREEN)
        await proxy.talk(GET % b"")
        await proxy.change(hosts=("other.test",))
        await proxy.talk(GET % (b"traceparent: %b\r\n" % SAMPLED))
        first, second = await collector.until(2)
    assert attributes(first)["bgproxy.environment"] == "green"
    assert attributes(first)["http.response.status_code"] == 503
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert attributes(second)["bgproxy.outcome"] == "unknown_service"
    assert second.parent_span_id.hex().encode() == SENDER


async def test_fields_of_the_configuration_go_along_and_queries_only_if_asked() -> None:
    """A key for the collector; a query that may hold secrets."""
    async with tracing(headers=(("X-Key", "k"),), query=True) as (proxy, _, collector):
        await proxy.talk(GET % b"")
        (span,) = await collector.until(1)
    assert collector.fields["X-Key"] == "k"
    assert attributes(span)["url.query"] == "secret=1"


async def test_a_collector_that_refuses_costs_spans_and_nothing_else() -> None:
    """They are dropped and counted; once it takes spans again they come."""
    async with tracing() as (proxy, _, collector):
        collector.status = 400
        assert (await proxy.talk(GET % b"")).endswith(b"ok")
        await proxy.until(lambda: proxy.ledger.head(0, ledger.SPANS_DROPPED) == 1)
        collector.status = 200
        await proxy.talk(GET % b"")
        await collector.until(1)
        await proxy.until(lambda: proxy.ledger.head(0, ledger.SPANS_EXPORTED) == 1)


async def test_spans_beyond_the_bound_are_dropped_and_counted() -> None:
    """A collector that does not answer holds neither requests up nor memory."""
    async with tracing() as (proxy, _, collector):
        collector.held.clear()
        await proxy.talk(GET % b"")
        await asyncio.wait_for(collector.asked.wait(), 10)
        reader, writer = await proxy.connect()
        for _ in range(24):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            await reader.readexactly(100 * len(OK))
        await proxy.until(lambda: proxy.ledger.head(0, ledger.SPANS_DROPPED) == 2400 - 2048)
        writer.close()
        collector.held.set()
        await collector.until(2049)


async def test_a_worker_sends_its_last_spans_and_does_not_wait_for_them_for_long() -> None:
    """At the stop: what has gathered goes out; a collector that hangs is given up."""
    for is_hanging in (False, True):
        async with tracing() as (proxy, _, collector):
            if is_hanging:
                collector.held.clear()
            await proxy.talk(GET % b"")
            began = monotonic()
            await proxy.fleet.stop(0.0, 0.0)
            assert monotonic() - began < 5.0
            if not is_hanging:
                await collector.until(1)
            else:
                assert proxy.ledger.head_total(ledger.SPANS_DROPPED) == 1


async def test_turning_it_on_and_off_holds_for_connections_from_then_on() -> None:
    """A reload needs no restart."""
    async with collecting() as collector:
        backend = await Backend(answering(OK)).start()
        async with running(table_of([backend.port], [])) as proxy:
            assert not has_loaded_the_sdk(proxy)
            table = traced(dataclasses.replace(proxy.table, number=2), collector)
            await proxy.fleet.publish(table)
            await proxy.talk(GET % b"")
            await collector.until(1)
            assert len(told(backend)) == 1
            assert has_loaded_the_sdk(proxy)
            await proxy.fleet.publish(dataclasses.replace(proxy.table, number=3))
            await proxy.talk(GET % b"")
            assert told(backend) == []
            await proxy.until(lambda: proxy.ledger.head(0, ledger.SPANS_EXPORTED) == 1)
