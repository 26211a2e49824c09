"""Quick readers and reference held together: where one answers, its answer is the reference's.

Both the compiled scanner, where it was built, and the reader of plain heads in Python.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgproxy.errors import BadRequest, BadResponse
from bgproxy.protocol import plain, render, request, response
from bgproxy.protocol.values import REQUEST_LIMITS, RESPONSE_LIMITS, HeadLimits
from tests.fuzz import heads
from tests.protocol.corpus import BROWSER, ODD_REQUESTS, ODD_RESPONSES, REQUESTS, RESPONSES

QUICK = heads.QUICK_READERS
each_reader = pytest.mark.parametrize("quick", QUICK, ids=lambda quick: quick.__name__)


@each_reader
def test_common_clients_are_answered_for(quick: Any) -> None:
    """At least 95 of 100 of what browsers, curl and libraries send."""
    plain = [name for name, data in REQUESTS.items() if quick.is_plain_request(data)]
    assert len(plain) >= 0.95 * len(REQUESTS), set(REQUESTS) - set(plain)
    assert not [name for name, data in ODD_REQUESTS.items() if quick.is_plain_request(data)]


@each_reader
def test_common_servers_are_answered_for(quick: Any) -> None:
    """The same for answers."""
    plain = [name for name, data in RESPONSES.items() if quick.is_plain_response(data, b"GET")]
    assert len(plain) >= 0.95 * len(RESPONSES), set(RESPONSES) - set(plain)
    odd = [name for name, data in ODD_RESPONSES.items() if quick.is_plain_response(data, b"GET")]
    assert odd == []


@each_reader
@pytest.mark.parametrize("client", [*REQUESTS, *ODD_REQUESTS])
def test_requests_read_alike(quick: Any, client: str) -> None:
    """Byte for byte, with bytes behind and without."""
    data = (REQUESTS | ODD_REQUESTS)[client]
    for behind in (b"", b"body", b"\r\n"):
        assert quick.read_request_head(data + behind) == request.read_request_head(data + behind)


@each_reader
@pytest.mark.parametrize("server", [*RESPONSES, *ODD_RESPONSES])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_answers_read_alike(quick: Any, server: str, method: bytes) -> None:
    """Byte for byte, with bytes behind and without."""
    data = (RESPONSES | ODD_RESPONSES)[server]
    for behind in (b"", b"body", b"\r\n"):
        assert quick.read_response_head(data + behind, method) == response.read_response_head(
            data + behind, method
        )


def test_every_byte_at_every_place_reads_alike() -> None:
    """No byte slips through anywhere in a head that has a bit of everything."""
    data = (
        b"PUT /a?b HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\nContent-Length: 3\r\n"
        b"X-Forwarded-For: x\r\nA: \tb\t\r\n\r\n"
    )
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: x\r\nA:b\r\n\r\n"
    for place in range(len(data)):
        for byte in range(256):
            check_request(data[:place] + bytes([byte]) + data[place + 1 :])
    for place in range(len(answer)):
        for byte in range(256):
            check_response(answer[:place] + bytes([byte]) + answer[place + 1 :])


def test_every_field_with_every_value_reads_alike() -> None:
    """Each name of the fuzz with each of its values, alone."""
    for name in heads.NAMES:
        for value in heads.VALUES:
            line = name + b": " + value + b"\r\n"
            check_request(b"POST / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n")
            check_request(b"POST / HTTP/1.1\r\n" + line + b"\r\n")
            check_response(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n")


PAIRED = [
    *(
        b"Host: a",
        b"host: b",
        b"Host:",
        b"Content-Length: 5",
        b"content-length: 0",
        b"Content-Length:",
    ),
    *(b"Content-Length: " + b"9" * 18, b"Content-Length: " + b"9" * 19, b"Content-Length: 05"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: gzip"),
    *(b"Connection: close", b"connection: Keep-Alive", b"Connection: a", b"Connection: upgrade"),
    *(b"Connection: keep-alive", b"Connection: Close", b"Transfer-Encoding: Chunked"),
    *(b"Connection: host", b"Connection: content-length", b"Connection:", b"Keep-Alive: timeout=5"),
    *(b"Upgrade: x", b"TE: trailers", b"Expect: 100-continue", b"Trailer: a", b"A: b", b"a:"),
    *(b"X-Forwarded-For: a", b"x-forwarded-for: b", b"X-Forwarded-Proto: c", b"X-Real-IP: d"),
    *(b"X-Request-Id: e", b"x-request-id: f", b"Forwarded: for=g", b"X_Forwarded_For: h"),
    *(b"Content_Length: 5", b"Max-Forwards: 1", b"Proxy-Connection: close", b"X-Request-Start: i"),
]


def test_every_pair_of_special_fields_reads_alike() -> None:
    """What one of them means often depends on another, and on the order."""
    for one in PAIRED:
        for two in PAIRED:
            lines = one + b"\r\n" + two + b"\r\n\r\n"
            for method in (b"GET", b"TRACE", b"HEAD"):
                check_request(method + b" / HTTP/1.1\r\n" + lines)
                check_request(method + b" / HTTP/1.1\r\nHost: x\r\n" + lines)
            for status in (b"200 OK", b"204 No", b"304 Not"):
                check_response(b"HTTP/1.1 %b\r\n" % status + lines)
                check_response(b"HTTP/1.1 %b\r\n" % status + lines, method=b"HEAD")


def check_request(data: bytes, limits: HeadLimits = REQUEST_LIMITS) -> None:
    """Assert that both readers say the same."""
    expected = heads.verdict(lambda data: request.read_request_head(data, limits), data)
    for quick in QUICK:
        said = heads.verdict(partial(quick.read_request_head, limits=limits), data)
        assert said == expected, (quick, data)


def check_response(
    data: bytes, limits: HeadLimits = RESPONSE_LIMITS, method: bytes = b"GET"
) -> None:
    """Assert that both readers say the same."""
    expected = heads.verdict(lambda data: response.read_response_head(data, method, limits), data)
    for quick in QUICK:
        said = heads.verdict(partial(quick.read_response_head, method=method, limits=limits), data)
        assert said == expected, (quick, data)


@each_reader
@pytest.mark.parametrize("slack", [-1, 0, 1])
def test_limits_are_the_references(quick: Any, slack: int) -> None:
    """At each limit, one below and one above."""
    line = BROWSER.index(b"\r\n")
    fields = BROWSER.count(b"\r\n") - 2
    for limits in (
        HeadLimits(max_line_bytes=line + slack),
        HeadLimits(max_head_bytes=len(BROWSER) + slack),
        HeadLimits(max_fields=fields + slack),
    ):
        check_request(BROWSER, limits)
        assert quick.is_plain_request(BROWSER, limits) is (slack >= 0)
    answer = RESPONSES["gunicorn"]
    for limits in (
        HeadLimits(max_line_bytes=answer.index(b"\r\n") + slack),
        HeadLimits(max_head_bytes=len(answer) + slack),
        HeadLimits(max_fields=answer.count(b"\r\n") - 2 + slack),
    ):
        check_response(answer, limits)
        assert quick.is_plain_response(answer, b"GET", limits) is (slack >= 0)


@each_reader
def test_faults_are_the_references(quick: Any) -> None:
    """The scanner refuses nothing by itself."""
    with pytest.raises(BadRequest, match="Host"):
        quick.read_request_head(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(BadResponse, match="Content-Length"):
        quick.read_response_head(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"GET")


@each_reader
def test_many_special_fields_are_left_to_the_reference(quick: Any) -> None:
    """What the scanner notes has a fixed number of places."""
    lines = b"".join(b"X-Forwarded-%d: x\r\n" % number for number in range(20))
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"
    assert not quick.is_plain_request(data)
    check_request(data)


@pytest.mark.parametrize("fields", range(58, 72))
def test_long_heads_read_alike(fields: int) -> None:
    """Around the number of plain lines that a pattern takes in at once, whatever stands where."""
    lines = b"A: b\r\n" * fields
    around = [
        *(b"", b"Content-Length: 5\r\n", b"Keep-Alive: a\r\nConnection: keep-alive\r\n"),
        *(b"X-Real-IP: c\r\n", b"Date: d\r\nConnection: close\r\n", b"Host: e\r\n"),
    ]
    for before in around:
        for behind in around:
            section = before + lines + behind + b"\r\n"
            for limits in (REQUEST_LIMITS, HeadLimits(max_fields=64)):
                check_request(b"GET / HTTP/1.1\r\n" + section, limits)
                check_request(b"GET / HTTP/1.1\r\nHost: x\r\n" + section, limits)
                check_response(b"HTTP/1.1 200 OK\r\n" + section, limits)


@pytest.mark.parametrize("seed", range(4))
def test_made_up_heads_read_alike(seed: int) -> None:
    """A short run of the fuzz, a new one each time the seed is changed."""
    maker = heads.Maker(seed)
    outcomes = [heads.check(maker, is_request=number % 2 == 0) for number in range(2500)]
    assert outcomes.count("read quickly") > 400


def test_what_is_nearly_plain_comes_to_an_end() -> None:
    """Lines that could be read in more than one way would take longer than any test may."""
    size = 16_000
    lines = (b"A: b\r\n" * 8 + b"X-Real-IP: c\r\nX-Request-Id: d\r\n") * size
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r"
    assert not plain.is_plain_request(data)
    assert not plain.is_plain_request(data.replace(b"X-R", b"Y-R"))
    answer = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10 * size + b"\r"
    assert not plain.is_plain_response(answer, b"GET")


@settings(max_examples=400)
@given(
    st.sampled_from([*REQUESTS.values(), *ODD_REQUESTS.values()]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)), max_size=4),
)
def test_mutated_requests_read_alike(data: bytes, changes) -> None:
    """A few bytes replaced anywhere; hypothesis looks for the smallest that differs."""
    for share, removed, put in changes:
        place = int(share * len(data))
        data = data[:place] + put + data[place + removed :]
    check_request(data)


@settings(max_examples=400)
@given(
    st.sampled_from([*RESPONSES.values(), *ODD_RESPONSES.values()]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)), max_size=4),
)
def test_mutated_answers_read_alike(data: bytes, changes) -> None:
    """A few bytes replaced anywhere; hypothesis looks for the smallest that differs."""
    for share, removed, put in changes:
        place = int(share * len(data))
        data = data[:place] + put + data[place + removed :]
    check_response(data)


@given(
    st.binary(),
    st.binary(),
    st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([16**n for n in range(16)])),
    st.one_of(st.floats(0, 2**62), st.sampled_from([float(10**n) for n in range(18)])),
)
def test_heads_are_put_together_alike(
    lines: bytes, fields: bytes, number: int, milliseconds: float
) -> None:
    """Where the scanner was built it writes what goes on, and the same as is written without."""
    written = render.request_head(lines, fields, number, milliseconds)
    assert written.startswith(lines + fields + b"%x\r\n" % number)
    assert written.endswith(b"\r\nX-Request-Start: t=%d\r\n\r\n" % milliseconds)
    if heads._scan is not None:
        assert heads._scan.request_head(lines, fields, number, milliseconds) == written


@given(st.binary(), st.binary(), st.binary(), st.data())
def test_small_answers_are_put_together_alike(
    lines: bytes, fields: bytes, data: bytes, draw: st.DataObject
) -> None:
    """The same for what goes back."""
    end = draw.draw(st.integers(0, len(data)))
    written = render.small_answer(lines, fields, data, end)
    assert written == lines + fields + b"\r\n" + data[end:]
    if heads._scan is not None:
        assert heads._scan.small_answer(lines, fields, data, end) == written
        with pytest.raises(IndexError):
            heads._scan.small_answer(lines, fields, data, len(data) + 1)


def test_scanner_takes_any_bytes() -> None:
    """Noise, empty input and every beginning of a head: an answer, a fault or None, no crash."""
    noise = random.Random(1)
    for size in range(200):
        check_request(noise.randbytes(size))
        check_response(noise.randbytes(size))
    for end in range(len(BROWSER)):
        assert not any(quick.is_plain_request(BROWSER[:end]) for quick in QUICK)
