"""What a span tells of a request, by OpenTelemetry's semantic conventions for HTTP servers.

What these have no name for stands under ``bgproxy.``: service, environment, generation, backend,
outcome and request id.
"""

from __future__ import annotations

from typing import NamedTuple

from bgproxy.dataplane.log_lines import Place
from bgproxy.domain.outcome import Reason, is_failure
from bgproxy.protocol.forwarding import field_value
from bgproxy.protocol.head import RequestHead
from bgproxy.protocol.trace_context import TraceContext

AttributeValue = str | int | bool

CLIENT_GONE = 499
"""What stands for a status where the client went before an answer."""

_METHODS = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"QUERY"}
)
_MOST_TEXT = 1024


class Span(NamedTuple):
    """Our part of a trace.

    Args:
        number: the request's, on its connection's worker.
        context: what the backend is told.
        parent_id: of the sender's span; 0 where the trace begins here.
        is_recorded: whether it is sent to the collector.
        state: what the sender's ``tracestate`` says.
    """

    number: int
    context: TraceContext
    parent_id: int
    is_recorded: bool
    state: bytes


class EndedRequest(NamedTuple):
    """A request that has ended.

    Args:
        started: Unix time at which its head was there.
        seconds: from then to the end.
        peer: address of whoever is connected; `client` is for whom it speaks.
        status: that the client was told.
        outcome: ``ok``, or why not.
        reason: likewise, where an environment had to do with it.
        bytes_in, bytes_out: of both bodies, as far as they were relayed.
    """

    span: Span
    started: float
    seconds: float
    head: RequestHead
    scheme: bytes
    client: str
    peer: str
    place: Place
    is_preview: bool
    status: int
    outcome: str
    reason: Reason | None
    bytes_in: int
    bytes_out: int
    request_id: str


def name_of(request: EndedRequest) -> str:
    """A span's name: the method, as a proxy does not know the application's routes."""
    method = request.head.method
    return method.decode("latin-1") if method in _METHODS else "HTTP"


def is_error(request: EndedRequest) -> bool:
    """Whether the span's status is an error: the server's fault, not the client's."""
    reason = request.reason
    return request.status >= 500 or (reason is not None and is_failure(reason))


def attributes_of(request: EndedRequest, *, with_query: bool) -> dict[str, AttributeValue]:
    """Names and values."""
    head = request.head
    attributes = _of_request(head, with_query=with_query)
    attributes["url.scheme"] = request.scheme.decode("latin-1")
    attributes["bgproxy.outcome"] = request.outcome
    attributes["bgproxy.request_id"] = request.request_id
    if request.client:
        attributes["client.address"] = request.client
    if request.peer:
        attributes["network.peer.address"] = request.peer
    if request.status != CLIENT_GONE:
        attributes["http.response.status_code"] = request.status
    if is_error(request) or request.reason is not None:
        answered = request.outcome in ("ok", "server_error")
        attributes["error.type"] = str(request.status) if answered else request.outcome
    if request.bytes_in:
        attributes["http.request.body.size"] = request.bytes_in
    if request.bytes_out:
        attributes["http.response.body.size"] = request.bytes_out
    for name, value in request.place._asdict().items():
        if value:
            attributes[f"bgproxy.{name}"] = value
    if request.is_preview:
        attributes["bgproxy.preview"] = True
    return attributes


def _of_request(head: RequestHead, *, with_query: bool) -> dict[str, AttributeValue]:
    """What the request's head tells."""
    path, _, query = head.target.partition(b"?")
    attributes: dict[str, AttributeValue] = {
        "http.request.method": name_of_method(head.method),
        "url.path": _text(path),
        "network.protocol.version": f"1.{head.minor}",
    }
    if head.method not in _METHODS:
        attributes["http.request.method_original"] = _text(head.method)
    if query and with_query:
        attributes["url.query"] = _text(query)
    if agent := field_value(head.lines, b"user-agent"):
        attributes["user_agent.original"] = _text(agent)
    if head.host:
        name, colon, port = head.host.rpartition(b":")
        if colon and port.isdigit():
            attributes["server.address"] = _text(name)
            attributes["server.port"] = int(port)
        else:
            attributes["server.address"] = _text(head.host)
    return attributes


def name_of_method(method: bytes) -> str:
    """The method, if it is one of those that are known; else there could be any number of them."""
    return method.decode("latin-1") if method in _METHODS else "_OTHER"


def _text(value: bytes) -> str:
    return value[:_MOST_TEXT].decode("latin-1")
