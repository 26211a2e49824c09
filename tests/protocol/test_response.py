"""Backends' heads: what passes as it came, what is taken out, what is refused."""

from __future__ import annotations

import pytest

from bgproxy.errors import BadResponse
from bgproxy.protocol import head as door
from bgproxy.protocol import response
from bgproxy.protocol.values import CHUNKED, UNTIL_CLOSE, HeadLimits
from tests.protocol.corpus import ODD_RESPONSES, RESPONSES


@pytest.fixture(
    params=[response.read_response_head, door.read_response_head], ids=["python", "door"]
)
def read(request):
    """Both ways to read a head, as the answer to a GET unless told otherwise."""

    def read_answer(data: bytes, method: bytes = b"GET", *limits: HeadLimits):
        return request.param(data, method, *limits)

    return read_answer


def told(read, data: bytes, *limits: HeadLimits):
    """What a reader says of some bytes; a refusal as a value."""
    try:
        return read(data, b"GET", *limits)
    except BadResponse as error:
        return error.reason, error.detail


def refusal(read, data: bytes, *limits: HeadLimits) -> str:
    """The reason for which a head is refused, the same for the first beginning that is."""
    whole = told(read, data, *limits)
    assert isinstance(whole, tuple), whole
    beginnings = (told(read, data[:end], *limits) for end in range(len(data) + 1))
    assert next(beginning for beginning in beginnings if beginning is not None) == whole
    return str(whole[0])


def ok(*lines: bytes) -> bytes:
    """A 200 with these lines."""
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])


# -- what passes -------------------------------------------------------------------------------


@pytest.mark.parametrize("server", [*RESPONSES, *ODD_RESPONSES])
def test_heads_of_common_servers_are_read_at_any_split(read, server: str) -> None:
    """No beginning of a good head is refused, none taken for the whole, nothing behind it read."""
    data = (RESPONSES | ODD_RESPONSES)[server]
    for end in range(len(data)):
        assert read(data[:end]) is None
    head = read(data)
    assert head.end == len(data)
    for behind in (b"\r", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", bytes(1000), b": \xff\n"):
        assert read(data + behind) == head


def test_order_spelling_repetition_and_latin1_stay(read) -> None:
    """Fields and the reason phrase are forwarded byte for byte."""
    lines = (
        b"HTTP/1.1 299 Caf\xe9 \tok\r\nSet-Cookie: a\r\nset-cookie:b\r\nEmpty:\r\nN: \xff\t\r\n"
        b"dAtE:\r\n"
        b"Content-Length: 3\r\n"
    )
    head = read(lines + b"\r\nabc")
    assert head.lines == lines
    assert (head.status, head.length, head.keep_alive, head.as_is) == (299, 3, True, True)


@pytest.mark.parametrize(
    ("line", "sent_on"),
    [
        (b"HTTP/1.1 200", b"HTTP/1.1 200 "),
        (b"HTTP/1.1 200 ", b"HTTP/1.1 200 "),
        (b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.2 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.9 200 OK", b"HTTP/1.1 200 OK"),
        (b"HTTP/1.1 599 \x80", b"HTTP/1.1 599 \x80"),
    ],
)
def test_status_line_goes_on_as_ours(read, line: bytes, sent_on: bytes) -> None:
    """The version is ours (RFC 9110 section 2.5), the phrase the backend's, the space required."""
    head = read(line + b"\r\nDate: x\r\nContent-Length: 0\r\n\r\n")
    assert head.lines == sent_on + b"\r\nDate: x\r\nContent-Length: 0\r\n"
    assert head.as_is is (line == sent_on)


def test_answer_without_a_date_does_not_go_on_as_it_came(read) -> None:
    """The proxy has to add one (RFC 9110 section 6.6.1)."""
    for lines, has_date in (((b"Date: x",), True), ((b"A: Date",), False), ((b"Dates: x",), False)):
        head = read(ok(*lines, b"Content-Length: 0"))
        assert (head.has_date, head.as_is) == (has_date, has_date)


# -- status line and fields --------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"HTTP/1.1 099 x",
            b"HTTP/1.1 600 x",
            b"HTTP/1.1 999 x",
            b"HTTP/1.1 20 x",
            b"HTTP/1.1 2000 x",
        ),
        *(
            b"HTTP/1.1 +20 x",
            b"HTTP/1.1 2x0 x",
            b"HTTP/1.1 x",
            b"HTTP/1.1",
            b"HTTP/1.1 ",
            b"200 OK",
        ),
        *(
            b"HTTP/2.0 200 OK",
            b"HTTP/0.9 200 OK",
            b"HTTP/1 200 OK",
            b"RTSP/1.0 200 OK",
        ),
        *(
            b"ICY 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1\t200 OK",
            b" HTTP/1.1 200 OK",
        ),
        *(
            b"HTTP/1.1 200\tOK",
            b"HTTP/1.1 200OK",
            b"HTTP/1.1 200 \0",
            b"HTTP/1.1 200 \x7f",
            b"",
            b"<html>",
        ),
        *(b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 \xb2\xb0\xb0 OK"),
    ],
)
def test_status_lines_that_are_none_are_refused(read, line: bytes) -> None:
    """RFC 9112 section 4, RFC 9110 section 15."""
    assert refusal(read, line + b"\r\nContent-Length: 0\r\n\r\n") == "bad_status_line"


def test_garbage_is_refused_at_its_first_byte(read) -> None:
    """Nothing that could follow would make it an answer, so no time-out is waited for."""
    for data in (
        b"\x16\x03",
        b"<",
        b"HTTP/3",
        b"\r\n",
        b"HTTQ",
        b"HTTP/1.1 7",
        b"HTTP/1.1 200 a\n",
    ):
        with pytest.raises(BadResponse, match="a status from 100"):
            read(data)


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"A : b",
            b" A: b",
            b": b",
            b"A",
            b"A: b\r\n c",
            b"A: b\rc",
            b"A: b\nB: c",
            b"A: b\0c",
            b"A: \x7f",
        ),
        *(b"A\xe9: b", b"A(: b", b"Set-Cookie: \x01", b"A: b\r", b"\rA: b"),
    ],
)
def test_malformed_fields_are_refused(read, line: bytes) -> None:
    """Answers are held to the same syntax as requests (RFC 9112 section 5)."""
    assert refusal(read, ok(line)) == "bad_field"


# -- framing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "length", "keep_alive"),
    [
        ((b"Content-Length: 0",), 0, True),
        ((b"content-length:17 ",), 17, True),
        ((b"Transfer-Encoding: chunked",), CHUNKED, True),
        ((b"transfer-encoding:Chunked",), CHUNKED, True),
        ((b"Transfer-Encoding: chunked", b"Connection: close"), CHUNKED, False),
        ((), UNTIL_CLOSE, False),
        ((b"Connection: keep-alive",), UNTIL_CLOSE, False),
    ],
)
def test_body_is_framed(read, lines: tuple[bytes, ...], length: int, keep_alive: bool) -> None:
    """RFC 9112 section 6.3."""
    head = read(ok(*lines))
    assert (head.length, head.keep_alive) == (length, keep_alive)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5", b"Content-Length: 6"),
        *(
            (b"Content-Length: " + value,)
            for value in (b"", b"5, 5", b"+5", b"-1", b"0x5", b"5 5", b"9" * 19, b"9" * 40, b"\xb2")
        ),
        *(
            (b"Transfer-Encoding: " + value,)
            for value in (
                *(
                    b"",
                    b"gzip",
                    b"gzip, chunked",
                    b"chunked, gzip",
                    b"chunked, chunked",
                    b"identity",
                ),
                *(b",chunked", b"xchunked", b"chunked;q=1", b"\xa0chunked"),
            )
        ),
        (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    ],
)
def test_framing_that_two_readers_could_read_differently_is_refused(
    read, lines: tuple[bytes, ...]
) -> None:
    """One length or one lone chunked, or the close; never a choice between two."""
    assert refusal(read, ok(*lines)) in ("bad_framing", "bad_field")


def test_coding_in_an_old_answer_is_refused(read) -> None:
    """RFC 9112 section 6.1: HTTP/1.0 has none, and a cache between could have kept it."""
    data = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(read, data) == "bad_framing"


@pytest.mark.parametrize("status", [b"101", b"103", b"204", b"304", b"200"])
def test_bad_framing_is_refused_even_where_no_body_follows(read, status: bytes) -> None:
    """A client's reader may look at the fields first."""
    lines = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(read, b"HTTP/1.1 %b x\r\n%b" % (status, lines)) == "bad_framing"


@pytest.mark.parametrize(
    ("method", "status", "keeps_length"),
    [
        (b"HEAD", 200, True),
        (b"HEAD", 404, True),
        (b"GET", 304, True),
        (b"GET", 204, False),
        (b"GET", 100, False),
        (b"GET", 103, False),
        (b"GET", 199, False),
    ],
)
def test_answers_without_a_body(read, method: bytes, status: int, keeps_length: bool) -> None:
    """They end with their head; what GET would give is told but in 1xx and 204 (RFC 9110 8.6)."""
    first = b"HTTP/1.1 %d x\r\n" % status
    head = read(first + b"Content-Length: 9\r\nDate: b\r\n\r\n", method)
    assert (head.length, head.keep_alive) == (0, True)
    length = b"Content-Length: 9\r\n" if keeps_length else b""
    assert head.lines == first + length + b"Date: b\r\n"
    assert head.as_is is keeps_length
    # A coding speaks of this hop only, and no chunk will follow (RFC 9112 section 6.1).
    head = read(first + b"Transfer-Encoding: chunked\r\nDate: b\r\n\r\n", method)
    assert (head.length, head.lines) == (0, first + b"Date: b\r\n")
    head = read(first + b"Date: b\r\n\r\n", method)
    assert (head.length, head.keep_alive, head.as_is) == (0, True, True)


def test_205_is_framed_like_others(read) -> None:
    """It must have no content, but it is its framing that says so (RFC 9110 section 15.3.6)."""
    assert read(b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n").length == 0
    assert read(b"HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n").length == CHUNKED


def test_length_and_coding_are_written_in_one_way(read) -> None:
    """What a client could read otherwise is written anew; the rest of the head is not touched."""
    head = read(ok(b"Content-Length: 007", b"Date: b"))
    assert head.lines == b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nDate: b\r\n"
    assert not head.as_is
    head = read(ok(b"Date: b", b"transfer-encoding:CHUNKED", b"C: d"))
    assert head.lines == b"HTTP/1.1 200 OK\r\nDate: b\r\nTransfer-Encoding: chunked\r\nC: d\r\n"
    assert not head.as_is


@pytest.mark.parametrize(
    ("line", "as_is"),
    [
        (b"Transfer-Encoding: chunked", True),
        (b"transfer-encoding: chunked", True),
        (b"transfer-encoding: Chunked", True),
        (b"transfer-encoding:chunked", False),
        (b"transfer-encoding:\tchunked", False),
        (b"transfer-encoding: chunked ", False),
    ],
)
def test_chunked_head_may_go_on_as_it_came_in_any_case(read, line: bytes, as_is: bool) -> None:
    """`lines` has our spelling either way."""
    head = read(ok(line, b"Date: x"))
    assert head.as_is is as_is
    assert head.lines == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: x\r\n"


# -- connection --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"close", False),
        (b"1.1", b"CLOSE", False),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"a, close", False),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"close", False),
        (b"1.0", b"a", False),
    ],
)
def test_persistence(read, version: bytes, connection: bytes, keep_alive: bool) -> None:
    """RFC 9112 section 9.3."""
    data = b"HTTP/%b 200 OK\r\nContent-Length: 0\r\nConnection: %b\r\n\r\n" % (version, connection)
    head = read(data)
    assert head.keep_alive is keep_alive
    assert head.lines == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    assert not head.as_is


def test_hop_by_hop_fields_end_here(read) -> None:
    """Those that always do, and those that Connection names (RFC 9110 section 7.6.1)."""
    head = read(
        ok(
            *(b"Keep-Alive: timeout=5", b"Proxy-Connection: close", b"Upgrade: h2c", b"TE: x"),
            *(b"Connection: x-hop, set-cookie, content-length", b"X-Hop: 1", b"Set-Cookie: a"),
            b"Content-Length: 2",
        )
    )
    assert head.lines == b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nContent-Length: 2\r\n"
    assert head.keep_alive
    assert head.extras is None


def test_upgrade_of_a_101_is_set_aside(read) -> None:
    """The relay puts it back (RFC 9110 section 7.8)."""
    head = read(ODD_RESPONSES["websocket"])
    assert (head.status, head.length, head.extras) == (101, 0, {b"upgrade": b"websocket"})
    assert head.lines.startswith(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept:")
    assert read(b"HTTP/1.1 101 x\r\n\r\n").extras is None


def test_upgrade_of_a_426_goes_on(read) -> None:
    """Without it the answer says nothing (RFC 9110 section 15.5.22)."""
    head = read(ODD_RESPONSES["upgrade required"])
    assert head.lines.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: HTTP/3.0\r\n")


def test_trailer_field_goes_on(read) -> None:
    """It announces what comes behind the chunks (RFC 9110 section 6.6.2)."""
    head = read(ok(b"Transfer-Encoding: chunked", b"Trailer: X-Sum"))
    assert head.lines.endswith(b"\r\nTrailer: X-Sum\r\n")


# -- limits ------------------------------------------------------------------------------------

LIMITS = HeadLimits(max_line_bytes=40, max_head_bytes=100, max_fields=3)


def test_limits_hold_before_the_head_ends(read) -> None:
    """A backend cannot fill the proxy's memory."""
    assert refusal(read, b"HTTP/1.1 200 " + b"a" * 40, LIMITS) == "line_too_long"
    assert refusal(read, ok(b"A: " + b"a" * 90)[:-4], LIMITS) == "head_too_large"
    assert refusal(read, ok(*[b"A: b"] * 4)[:-2], LIMITS) == "too_many_fields"
    assert read(ok(*[b"A: b"] * 3), b"GET", LIMITS).status == 200
