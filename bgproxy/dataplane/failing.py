"""What goes wrong with an exchange, what the client is told, and how it is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgproxy.dataplane.connection import CONNECTING, EXCHANGE, TUNNEL
from bgproxy.domain.error_pages import find_page
from bgproxy.domain.outcome import Reason
from bgproxy.errors import BadRequest
from bgproxy.protocol.forwarding import field_values
from bgproxy.protocol.last_hop import last_hop_answer
from bgproxy.state import ledger

if TYPE_CHECKING:
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.routes import Route

_STATUS_OF = {
    Reason.CONNECT_TIMEOUT: 504,
    Reason.RESPONSE_TIMEOUT: 504,
    Reason.NO_BACKEND: 503,
    Reason.DRAINED: 503,
}
"""What a client is told where the answer had not begun; 502 for every other reason."""


def refuse(
    client: Exchange,
    status: int,
    reason: str,
    detail: str,
    *,
    route: Route | None = None,
    retry_after: int | None = None,
    fields: bytes = b"",
    is_head: bool = False,
) -> None:
    """Answer a request that no environment saw, and close.

    Args:
        route: the service, if one was found.
        retry_after: seconds.
        fields: further field lines of the answer.
        is_head: whether a request that could not be read was a HEAD.
    """
    note_refused(client, status, reason, route)
    _answer(client, status, reason, detail, route, retry_after, fields, is_head=is_head)


def note_refused(client: Exchange, status: int, reason: str, route: Route | None = None) -> None:
    """Count and write down an answer of our own to a request that no environment saw."""
    worker = client.worker
    worker.count_refused(status)
    worker.memory.was_refused(client, status, reason, route)
    if worker.log is not None:
        worker.log.refused(client, status, reason, route)


def answer_as_last(client: Exchange, sent: bytes) -> None:
    """Answer a request that may be forwarded no further, and close.

    Args:
        sent: the request's head as it came.
    """
    note_refused(client, 200, "last_hop")
    client.transport.write(last_hop_answer(client.method, sent, client.worker.date_line))
    client.end(is_sending=client.body_left != 0)


def refuse_waiting(client: Exchange, reason: Reason, detail: str, word: str = "") -> None:
    """Answer 503 to a request that its environment has no room for, and close.

    Args:
        word: what the answer calls the reason, if not its label.
    """
    worker = client.worker
    word = word or reason.label
    client.environment.count_answer(worker.cells, 503, reason)
    worker.memory.waited_in_vain(client, 503, word)
    if worker.log is not None:
        worker.log.unclaimed(client, 503, word)
    fields = client.environment.answer_fields
    _answer(client, 503, word, detail, client.route, 1, fields)


def fail_client(client: Exchange, reason: Reason, error: BadRequest) -> None:
    """The client's fault ends a claimed exchange."""
    client.note_trouble(error.detail)
    client.record(client.status or error.status, reason)
    give_up_upstream(client)
    if client.status:
        client.cut(is_reset=client.head.minor == 0)
    else:
        fields = client.environment.answer_fields
        _answer(client, error.status, error.reason, error.detail, client.route, fields=fields)


def fail(client: Exchange, reason: Reason, detail: str) -> None:
    """The backend's fault, or the proxy's, ends a claimed exchange.

    Before the answer began the client gets 502, 503 or 504; afterwards its connection is cut.
    """
    status = client.status or _STATUS_OF.get(reason, 502)
    if not client.detail:
        client.note_trouble(detail)
    client.record(status, reason)
    give_up_upstream(client)
    if client.status:
        client.cut(is_reset=client.head.minor == 0)
        return
    retry_after = 1 if status == 503 else None
    fields = client.environment.answer_fields
    _answer(client, status, reason.label, detail, client.route, retry_after, fields)


def _answer(
    client: Exchange,
    status: int,
    reason: str,
    detail: str,
    route: Route | None,
    retry_after: int | None = None,
    fields: bytes = b"",
    *,
    is_head: bool = False,
) -> None:
    """Tell the client in the form that its request asked for, if one was read."""
    is_read = bool(client.method)
    if route is not None and client.scheme == b"https":
        fields += route.hsts  # over TLS alone (RFC 6797 section 7.2)
    client.answer_error(
        status,
        reason,
        detail,
        accept=b", ".join(field_values(client.head.lines, b"accept")) if is_read else b"",
        is_head=is_head or client.method == b"HEAD",
        is_sending=not is_read or client.body_left != 0,
        retry_after=retry_after,
        page=find_page(route.error_pages, status) if route is not None else None,
        fields=fields,
    )


def give_up_upstream(client: Exchange) -> None:
    """Drop the backend connection, which is in an unknown state."""
    upstream, client.upstream = client.upstream, None
    if upstream is not None:
        upstream.close()


def upstream_lost(client: Exchange, *, was_reused: bool, is_silent: bool) -> None:
    """The backend closed before its answer was whole.

    A request goes out once more only if it cannot have been executed, or may be twice: the
    connection was a kept one, not one byte of an answer came, the method is idempotent, no body
    was under way, and the retry budget has room (RFC 9110 section 9.2.2).
    """
    environment = client.environment
    if was_reused and is_silent and client.may_be_repeated and environment.retry_tokens >= 1:
        environment.retry_tokens -= 1
        environment.count(client.worker.cells, ledger.RETRIES)
        client.may_be_repeated = False
        client.upstream = None
        client.connect()
    elif client.status:
        fail(client, Reason.TRUNCATED, "the backend closed inside its answer")
    else:
        fail(client, Reason.RESET, "the backend closed before it answered")


def drain(client: Exchange) -> None:
    """The time of what began on the old environment is over: close what this carries."""
    if client.phase == TUNNEL:
        assert client.tunnel is not None
        client.tunnel.go_away()
    elif client.phase in (CONNECTING, EXCHANGE):
        fail(client, Reason.DRAINED, "the release that this request ran on is being replaced")
