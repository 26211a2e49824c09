"""Requests whose Max-Forwards is used up are answered by the proxy."""

from __future__ import annotations

import pytest

from bgproxy.protocol import head as door
from bgproxy.protocol.last_hop import is_last_hop, last_hop_answer


def request(method: bytes, *lines: bytes):
    """A request's head, as it came and as it was read."""
    sent = b"\r\n".join([method + b" /x HTTP/1.1", b"Host: a", *lines, b"", b""])
    head = door.read_request_head(sent)
    assert head is not None
    return sent, head


@pytest.mark.parametrize(
    ("method", "value", "is_last"),
    [
        (b"TRACE", b"0", True),
        (b"TRACE", b"00", True),
        (b"OPTIONS", b"0", True),
        (b"TRACE", b"1", False),
        (b"TRACE", b"10", False),
        (b"GET", b"0", False),
    ],
)
def test_zero_ends_trace_and_options_only(method: bytes, value: bytes, is_last: bool) -> None:
    """RFC 9110 section 7.6.2."""
    assert is_last_hop(request(method, b"Max-Forwards: " + value)[1]) is is_last


def test_without_max_forwards_nothing_ends_here() -> None:
    """Whatever other fields are noted."""
    assert not is_last_hop(request(b"TRACE")[1])
    assert not is_last_hop(request(b"TRACE", b"X-Request-Id: a")[1])


def test_trace_is_shown_what_came_without_its_secrets() -> None:
    """RFC 9110 section 9.3.8."""
    secrets = (b"Cookie: s", b"AUTHORIZATION: s", b"proxy-authorization:s")
    sent, _ = request(b"TRACE", b"Max-Forwards: 0", b"A: cookie: b", *secrets)
    answer = last_hop_answer(b"TRACE", sent, b"Date: x\r\n")
    head = door.read_response_head(answer, b"TRACE")
    assert head is not None
    assert b"\r\nContent-Type: message/http\r\n" in head.lines
    assert head.has_date
    body = answer[head.end :]
    assert len(body) == head.length
    assert body == b"TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nA: cookie: b\r\n\r\n"


def test_options_is_answered_with_nothing() -> None:
    """A whole answer, and the connection's last."""
    head = door.read_response_head(last_hop_answer(b"OPTIONS", b"", b"Date: x\r\n"), b"OPTIONS")
    assert head is not None
    assert (head.status, head.length, head.keep_alive) == (200, 0, False)
    assert head.has_date
