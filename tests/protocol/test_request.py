"""Clients' heads: what passes as it came, what is taken out, what is refused.

Each case runs through the reference and through the door, which may have a scanner before it.
Cases marked (G) go back to gunicorn's tests/requests, (A) to aiohttp's parser tests, (L) to
llhttp's own, (H) to the differences between servers that http-garden has found.
"""

from __future__ import annotations

import pytest

from bgproxy.errors import BadRequest
from bgproxy.protocol import head as door
from bgproxy.protocol import request
from bgproxy.protocol.values import CHUNKED, HeadLimits
from tests.protocol.corpus import ODD_REQUESTS, REQUESTS


@pytest.fixture(params=[request.read_request_head, door.read_request_head], ids=["python", "door"])
def read(request):
    """Both ways to read a head."""
    return request.param


def told(read, data: bytes, *limits: HeadLimits):
    """What a reader says of some bytes; a refusal as a value."""
    try:
        return read(data, *limits)
    except BadRequest as error:
        return error.status, error.reason, error.detail


def refusal(read, data: bytes, *limits: HeadLimits) -> tuple[int, str]:
    """Status and reason for which a head is refused, the same for the first beginning that is."""
    whole = told(read, data, *limits)
    assert isinstance(whole, tuple), whole
    beginnings = (told(read, data[:end], *limits) for end in range(len(data) + 1))
    assert next(beginning for beginning in beginnings if beginning is not None) == whole
    return whole[:2]


def get(*lines: bytes) -> bytes:
    """A GET with these lines behind its Host."""
    return b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines, b"", b""])


# -- what passes -------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [*REQUESTS, *ODD_REQUESTS])
def test_heads_of_common_clients_are_read_at_any_split(read, client: str) -> None:
    """No beginning of a good head is refused, none taken for the whole, nothing behind it read."""
    data = (REQUESTS | ODD_REQUESTS)[client]
    for end in range(len(data)):
        assert read(data[:end]) is None
    head = read(data)
    assert head.end == len(data)
    for behind in (b"\r", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b": \xff\n"):
        assert read(data + behind) == head


def test_order_spelling_repetition_and_latin1_stay(read) -> None:
    """Fields are forwarded byte for byte (RFC 9110 section 5)."""
    lines = (
        b"GET /a%2Fb//../c?q=%20&x=%zz HTTP/1.1\r\nhOsT:  a.example:80\t\r\nX-A: 1\r\nx-a:2\r\n"
        b'X-A:\r\nEmpty: \t\r\nName: caf\xe9 \xff\r\nTab: a\tb\r\nQuoted: "a\\"b", c\r\n'
    )
    head = read(lines + b"\r\n")
    assert head.lines == lines
    assert head.target == b"/a%2Fb//../c?q=%20&x=%zz"
    assert head.host == b"a.example:80"
    assert (head.length, head.minor, head.keep_alive, head.extras) == (0, 1, True, None)


@pytest.mark.parametrize(
    "method", [b"GET", b"QUERY", b"PROPFIND", b"M-SEARCH", b"get", b"X!#$%&'*"]
)
def test_any_token_is_a_method(read, method: bytes) -> None:
    """A backend may know a method that the proxy does not (RFC 9110 section 9.1)."""
    head = read(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert head.method == method
    assert head.lines == method + b" / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "target", [b"/", b"//evil", b"/%00", b'/a"b<c>d\\e^f`g{h|i}', b"/?a?b", b"/*", b"/;p=1/:@,"]
)
def test_targets_pass_byte_for_byte(read, target: bytes) -> None:
    """Nothing is decoded, merged or escaped (RFC 9112 section 3.2.1)."""
    assert read(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target).target == target


def test_request_with_the_longest_line_is_read(read) -> None:
    """Limits are inclusive."""
    target = b"/" + b"a" * (8192 - len(b"GET / HTTP/1.1"))
    assert read(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target).target == target


def test_empty_lines_before_a_request_are_passed_over(read) -> None:
    """Some clients send one behind a body (RFC 9112 section 2.2); `end` counts it."""
    head = read(b"\r\n\r\n" + get())
    assert head.end == len(get()) + 4
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\n"


# -- request line ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /", 400),  # HTTP/0.9
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/2.0", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/9.1", 505),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/1.", 400),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / HTTP/01.1", 400),
        (b"GET / HTTP/4294967297.1", 400),  # H 24
        (b"GET / http/1.1", 400),
        (b"GET / RTSP/1.0", 400),  # L
        (b"GET / ICE/1.0", 400),  # L
        (b"GET / HTTP/\r\r1.1", 400),  # H 15
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /\nHTTP/1.1", 400),  # H 9
        (b"GET / HTTP/1.1\rX: y", 400),
        (b"G\xe9T / HTTP/1.1", 400),  # G nonascii
        (b"G@T / HTTP/1.1", 400),
        (b'G=":<>(e),[T];?" / HTTP/1.1', 400),  # H 6
        (b"\x00 / HTTP/1.1", 400),  # H 40
        (b" / HTTP/1.1", 400),
        (b"GET /\xe9 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET # HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET ! HTTP/1.1", 400),  # H 7
        (b"GET a HTTP/1.1", 400),
        (b"GET a:80 HTTP/1.1", 400),
        (b"GET ?a HTTP/1.1", 400),
        (b"GET \\a HTTP/1.1", 400),
        (b"CONNECT a:443 HTTP/1.1", 501),
        (b"CONNECT / HTTP/1.1", 501),
    ],
)
def test_request_lines_that_are_none_are_refused(read, line: bytes, status: int) -> None:
    """One space, one target, one version (RFC 9112 section 3)."""
    assert refusal(read, line + b"\r\nHost: a\r\n\r\n")[0] == status


def test_other_protocols_are_refused_at_their_first_bytes(read) -> None:
    """A TLS hello, or a request line without CR, need not wait for a time-out."""
    for data in (
        b"\x16\x03\x01\x02\x00\x01",
        b"SSH-2.0-x\r\n",
        b"GET / HTTP/1.1\nHost",
        b"\n",
        b"{",
    ):
        with pytest.raises(BadRequest, match="METHOD"):
            read(data)


def test_higher_minor_version_is_read_as_1_1(read) -> None:
    """RFC 9110 section 2.5; the backend is told what we speak."""
    head = read(b"GET / HTTP/1.7\r\nHost: a\r\n\r\n")
    assert head.minor == 1
    assert head.lines.startswith(b"GET / HTTP/1.1\r\n")


def test_many_empty_lines_are_refused(read) -> None:
    """Nobody may keep the proxy busy with nothing."""
    assert refusal(read, b"\r\n" * 5 + get()) == (400, "bad_request_line")


# -- target forms and Host ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "target", "host"),
    [
        (b"GET http://b.example/x?y", b"/x?y", b"b.example"),
        (b"GET HTTPS://b:8443/x", b"/x", b"b:8443"),
        (b"GET http://b", b"/", b"b"),
        (b"GET http://b?q", b"/?q", b"b"),
        (b"GET http://[::1]:80//x", b"//x", b"[::1]:80"),
        (b"OPTIONS http://b", b"*", b"b"),
        (b"OPTIONS http://b/", b"/", b"b"),
    ],
)
def test_absolute_form_names_the_host(read, line: bytes, target: bytes, host: bytes) -> None:
    """The target's authority replaces Host at its place (RFC 9112 sections 3.2.2 and 3.2.4)."""
    head = read(line + b" HTTP/1.1\r\nA: 1\r\nhost: a\r\nB: 2\r\n\r\n")
    assert (head.target, head.host) == (target, host)
    method = line.split()[0]
    assert head.lines == (
        b"%b %b HTTP/1.1\r\nA: 1\r\nHost: %b\r\nB: 2\r\n" % (method, target, host)
    )


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"http://",
            b"http:///x",
            b"http://u@b/",
            b"http://u:p@b/",
            b"http://b:x/",
            b"http://b c/",
        ),
        *(b"ftp://b/", b"http:/b", b"http://[::1/", b"http://b:123456/", b"http://\xe9/", b"//"),
        *(b"http://b\\x", b"javascript:x"),
    ],
)
def test_absolute_form_with_a_bad_authority_is_refused(read, target: bytes) -> None:
    """The authority is checked like a Host; userinfo is refused (RFC 9110 section 4.2.4)."""
    data = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target
    if target == b"//":
        assert read(data).target == target
    else:
        assert refusal(read, data)[0] == 400


def test_absolute_form_does_not_make_up_for_a_host(read) -> None:
    """HTTP/1.1 requires Host whatever the target says; HTTP/1.0 gets one from it."""
    assert refusal(read, b"GET http://b/ HTTP/1.1\r\n\r\n") == (400, "bad_host")
    head = read(b"GET http://b/ HTTP/1.0\r\nA: 1\r\n\r\n")
    assert head.lines == b"GET / HTTP/1.1\r\nHost: b\r\nA: 1\r\n"


def test_options_asterisk_passes(read) -> None:
    """RFC 9112 section 3.2.4."""
    head = read(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head.target, head.lines) == (b"*", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n")


@pytest.mark.parametrize(
    "host",
    [
        *(
            b"a",
            b"a.example",
            b"A.EXAMPLE:8080",
            b"1.2.3.4:80",
            b"[::1]",
            b"[2001:db8::1]:443",
            b"a:",
        ),
        *(b"under_score", b"xn--bcher-kva", b"a%20b", b"a~b", b"a.", b"a;b=c,d"),
    ],
)
def test_valid_hosts_pass(read, host: bytes) -> None:
    """uri-host [ ":" port ] (RFC 9110 section 7.2, RFC 3986 section 3.2.2)."""
    assert read(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).host == host


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Host:\r\n",
        b"Host: \t \r\n",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nhOST: b\r\n",
        b"Host:\r\nHost: a\r\n",
        b"Host: a b\r\n",
        b"Host: a, b\r\n",
        b"Host: a/b\r\n",
        b"Host: http://a\r\n",
        b"Host: u@a\r\n",
        b"Host: a:b\r\n",
        b"Host: a:80:80\r\n",
        b"Host: :80\r\n",
        b"Host: a:123456\r\n",
        b"Host: [::1\r\n",
        b"Host: ::1\r\n",
        b"Host: [::1]x\r\n",
        b"Host: [fe80::1%25eth0]\r\n",
        b"Host: a%2\r\n",
        b"Host: a?b\r\n",
        b"Host: a#b\r\n",
        b"Host: <a>\r\n",
        b"Host: \xe9\r\n",
        b"Host: \xa0a\r\n",  # H 12: a blank to those who decode before they strip
    ],
)
def test_hosts_that_are_none_are_refused(read, lines: bytes) -> None:
    """Exactly one, and a valid one (RFC 9112 section 3.2)."""
    assert refusal(read, b"GET / HTTP/1.1\r\n%b\r\n" % lines) == (400, "bad_host")


# -- field syntax ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *(b"A : b", b"A\t: b", b" A: b", b"\tA: b", b": b", b":", b"A", b"A b"),
        *(b"A: b\r\n c", b"A: b\r\n\tc", b"A:\r\n b"),
        *(
            b"A: b\rc",
            b"A: b\nB: c",
            b"A: b\0c",
            b"A: \0",
            b"A: b\x7f",
            b"A: \x01",
            b"A: \x0b",
            b"A:\x0c",
        ),
        *(
            b"A\xe9: b",
            b"A\x85: b",
            b"A(: b",
            b"A@b: c",
            b"A,: b",
            b"A/b: c",
            b"A[0]: b",
            b'"A": b',
            b"A\0: b",
        ),
        *(
            b"Te\nst: x",
            b"Te\rst: x",
            b"Transfer-\r\nEncoding: chunked",
            b"A: b\r",
            b"A: b\n",
            b"\rA: b",
        ),
    ],
)
def test_malformed_fields_are_refused(read, line: bytes) -> None:
    """Names are tokens, a colon follows at once, values hold no controls (RFC 9112 section 5)."""
    assert refusal(read, b"GET / HTTP/1.1\r\n%b\r\nHost: a\r\n\r\n" % line) == (400, "bad_field")
    assert refusal(read, get(line))[0] == 400


def test_line_without_cr_is_refused(read) -> None:
    """Bare LF ends no line, though RFC 9112 section 2.2 would allow it: peers differ (H 16, L)."""
    assert refusal(read, b"GET / HTTP/1.1\nHost: a\n\n")[0] == 400
    assert refusal(read, b"GET / HTTP/1.1\r\nHost: a\n\r\n") == (400, "bad_field")
    assert refusal(read, b"GET / HTTP/1.1\r\nHost: a\r\n\nX: y\r\n\r\n") == (400, "bad_field")
    assert refusal(read, b"GET / HTTP/1.1\r\nHost: a\r\n\rZ: y\r\n\r\n") == (400, "bad_field")


# -- framing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "length"),
    [
        (b"Content-Length: 0", 0),
        (b"Content-Length: 17", 17),
        (b"content-LENGTH:17 \t", 17),
        (b"Content-Length: 999999999999999999", 999999999999999999),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"transfer-encoding:CHUNKED  ", CHUNKED),
    ],
)
def test_body_is_framed_by_length_or_chunks(read, line: bytes, length: int) -> None:
    """Any method may have a body (RFC 9112 section 6)."""
    for method in (b"GET", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"QUERY"):
        head = read(method + get(line)[3:])
        assert head.length == length


def test_length_is_written_in_one_way(read) -> None:
    """010 is eight to a reader that lets C guess the base (H 32); ours goes on (L)."""
    assert read(get(b"content-length: 010")).lines.endswith(b"\r\nContent-Length: 10\r\n")
    assert read(get(b"content-length: 10")).lines.endswith(b"\r\ncontent-length: 10\r\n")


def test_coding_is_written_in_one_way_at_its_place(read) -> None:
    """However chunked was spelled, our own line goes on."""
    head = read(get(b"A: 1", b"transfer-ENCODING:Chunked", b"B: 2"))
    assert head.lines.endswith(b"\r\nA: 1\r\nTransfer-Encoding: chunked\r\nB: 2\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 0"),
        (b"Content-Length: 5", b"Transfer-Encoding: identity"),
        (b"Content-Length: 5", b"Transfer-Encoding: ,chunked"),  # H 21
        (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5", b"A: b", b"content-length: 6"),
        (b"Content-Length: ", b"Content-Length: 43"),  # H 42
        *(
            (b"Content-Length: " + value,)
            for value in (
                *(
                    b"",
                    b"5, 5",
                    b"5,5",
                    b"5 5",
                    b"+5",
                    b"-5",
                    b"-0",
                    b"0x5",
                    b"0o5",
                    b"5_0",
                    b"1e1",
                ),
                *(
                    b"5.0",
                    b"5;",
                    b"a",
                    b"1Z",
                    b"\xb5",
                    b"\xa05",
                    b"1" * 19,
                    b"9" * 40,
                    b"5,",
                    b'"5"',
                ),
                b"4 2",
            )
        ),
        *(
            (b"Transfer-Encoding: " + value,)
            for value in (
                *(b"", b"gzip", b"identity", b"chunked, gzip", b"chunked, chunked", b"chunked,"),
                *(b",chunked", b"xchunked", b"chunkedchunked", b"chunked;q=1", b'"chunked"'),
                *(
                    b"\xa0chunked\xa0",
                    b"chunked\x0b",
                    b"chun\tked",
                    b"pigeons",
                    b"chunke",
                    b"a, b",
                    b"gzip, xchunked",
                    b"gzip, deflate",
                ),
            )
        ),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),  # H 11
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding:"),
        (b"Content_Length: 5",),
        (b"content_length: 5", b"Content-Length: 5"),
        (b"Transfer_Encoding: chunked",),
        (b"Transfer.Encoding: chunked",),
    ],
)
def test_framing_that_two_readers_could_read_differently_is_refused(
    read, lines: tuple[bytes, ...]
) -> None:
    """RFC 9112 section 6.3, without the repairs that it allows.

    With an upgrade, too, where llhttp leaves the codings unchecked.
    """
    for more in ((), (b"Connection: Upgrade", b"Upgrade: x")):
        status, reason = refusal(read, b"POST" + get(*more, *lines)[3:])
        assert status == 400
        assert reason in ("bad_framing", "bad_field")


def test_tab_behind_a_coding_is_refused(read) -> None:
    """White space that RFC 9110 section 5.5 allows, but llhttp takes blanks alone there."""
    assert refusal(read, get(b"Transfer-Encoding: chunked\t")) == (400, "bad_framing")


@pytest.mark.parametrize(
    "lines",
    [
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),  # G 025
        (b"Transfer-Encoding: identity, chunked",),
    ],
)
def test_codings_that_others_may_know_are_501(read, lines: tuple[bytes, ...]) -> None:
    """The end would be clear, but the coding is not spoken here (RFC 9112 section 6.1)."""
    assert refusal(read, get(*lines)) == (501, "unsupported_coding")


def test_upgrade_does_not_take_the_body_away(read) -> None:
    """Of itself llhttp ends such a message at its head; the body would be read as a request."""
    head = read(get(b"Connection: Upgrade", b"Upgrade: x", b"Content-Length: 5"))
    assert head.length == 5
    assert head.extras == {b"upgrade": b"x"}


# -- HTTP/1.0 ----------------------------------------------------------------------------------


def test_old_client_is_read_and_spoken_for_as_1_1(read) -> None:
    """No Host and no keep-alive are needed (RFC 9112 section 9.3)."""
    head = read(b"GET / HTTP/1.0\r\nA: 1\r\n\r\n")
    assert head.lines == b"GET / HTTP/1.1\r\nA: 1\r\n"
    assert (head.host, head.minor, head.keep_alive) == (b"", 0, False)
    assert read(b"GET / HTTP/1.0\r\n\r\n").lines == b"GET / HTTP/1.1\r\n"


def test_old_client_has_no_codings_expectations_or_upgrades(read) -> None:
    """RFC 9112 section 6.1, RFC 9110 sections 10.1.1 and 7.8."""
    data = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(read, data) == (400, "bad_framing")
    head = read(
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: upgrade\r\nUpgrade: x\r\n"
        b"Content-Length: 1\r\n\r\n"
    )
    assert head.lines == b"POST / HTTP/1.1\r\nContent-Length: 1\r\n"
    assert head.extras is None


# -- connection --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"close", False),
        (b"1.1", b"Close", False),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"", True),
        (b"1.1", b"x, ,close", False),
        (b"1.1", b"keep-alive, close", False),
        (b"1.1", b"closed", True),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"close", False),
        (b"1.0", b"keep-alive, close", False),
        (b"1.0", b"x", False),
    ],
)
def test_persistence(read, version: bytes, connection: bytes, keep_alive: bool) -> None:
    """RFC 9112 section 9.3; close wins."""
    data = b"GET / HTTP/%b\r\nHost: a\r\nConnection: %b\r\n\r\n" % (version, connection)
    head = read(data)
    assert head.keep_alive is keep_alive
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\n"


def test_hop_by_hop_fields_end_here(read) -> None:
    """Those that always do, and those that Connection names (RFC 9110 section 7.6.1)."""
    head = read(
        get(
            *(
                b"Keep-Alive: timeout=5",
                b"Proxy-Connection: keep-alive",
                b"TE: gzip",
                b"Upgrade: h2c",
            ),
            *(b"Connection: X-Hop", b"x-hop: 1", b"Http2-Settings: x", b"X-Stays: 1"),
            b"connection: http2-settings, close",
        )
    )
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\nX-Stays: 1\r\n"
    assert head.extras is None
    assert not head.keep_alive


def test_connection_cannot_take_end_to_end_fields_out(read) -> None:
    """Or a client could hide its Cookie, its length or its Host from the backend."""
    lines = (b"Cookie: a", b"Authorization: b", b"Content-Length: 1", b"X-Request-Id: r")
    options = b"Connection: host, cookie, authorization, content-length, x-request-id"
    head = read(get(*lines, options))
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(x + b"\r\n" for x in lines)


def test_upgrade_is_set_aside_where_connection_names_it(read) -> None:
    """RFC 9110 section 7.8; the relay puts it back in its own words."""
    head = read(get(b"Connection: keep-alive, Upgrade", b"upgrade: websocket", b"Upgrade: x/1"))
    assert head.extras == {b"upgrade": b"websocket, x/1"}
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert read(get(b"Upgrade: websocket")).extras is None


@pytest.mark.parametrize(
    ("value", "extras"),
    [
        (b"trailers", {b"te": b"trailers"}),
        (b"deflate;q=0.5, Trailers", {b"te": b"trailers"}),
        (b"deflate", None),
        (b"", None),
    ],
)
def test_only_trailers_are_taken_from_te(read, value: bytes, extras) -> None:
    """The only member that means something to a proxy without codings (RFC 9110 10.1.4)."""
    head = read(get(b"TE: " + value, b"Connection: TE"))
    assert head.extras == extras
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\n"


# -- extras ------------------------------------------------------------------------------------


def test_fields_about_the_way_are_set_aside(read) -> None:
    """Only a trusted peer may send them; the relay writes them anew."""
    head = read(
        get(
            *(
                b"X-Forwarded-For: 1.1.1.1",
                b"x-forwarded-for: 2.2.2.2",
                b"X-Forwarded-Proto: https",
            ),
            *(b"X-Forwarded-Host: b", b"X-Forwarded-Port: 1", b"X-Forwarded-Prefix: /p"),
            *(
                b"Forwarded: for=1.1.1.1",
                b"X-Real-IP: 3.3.3.3",
                b"X-Request-Start: t=1",
                b"Via: 1.0 x",
            ),
        )
    )
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\n"
    assert head.extras == {
        b"x-forwarded-for": b"1.1.1.1, 2.2.2.2",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"b",
        b"x-forwarded-port": b"1",
        b"x-forwarded-prefix": b"/p",
        b"forwarded": b"for=1.1.1.1",
        b"x-real-ip": b"3.3.3.3",
        b"x-request-start": b"t=1",
    }


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"X_Forwarded_For",
            b"x-forwarded_proto",
            b"X_REAL_IP",
            b"X.Forwarded.Host",
            b"X_Request_Id",
        ),
        *(b"Keep_Alive", b"Proxy_Connection", b"Content_Type", b"x_forwarded_anything"),
    ],
)
def test_names_that_a_backend_takes_for_others_are_dropped(read, name: bytes) -> None:
    """CGI and WSGI know no difference between - and _ (RFC 3875 section 4.1.18)."""
    head = read(get(name + b": evil", b"X_Own: 1"))
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\nX_Own: 1\r\n"
    assert head.extras is None


def test_request_id_stays_and_is_told(read) -> None:
    """For logs and answers of the proxy's own."""
    head = read(get(b"X-Request-Id: abc"))
    assert head.extras == {b"x-request-id": b"abc"}
    assert head.lines == b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc\r\n"


def test_expectation_to_continue_goes_on(read) -> None:
    """It is the backend's to answer (RFC 9110 section 10.1.1)."""
    head = read(get(b"Expect: 100-Continue", b"Content-Length: 1"))
    assert b"\r\nExpect: 100-Continue\r\n" in head.lines
    assert head.extras == {b"expect": b"100-Continue"}


def test_empty_list_of_expectations_expects_nothing(read) -> None:
    """A recipient takes empty members, so a list of nothing else too (RFC 9110 section 5.6.1)."""
    for value in (b"", b" , ", b"100-continue,,"):
        assert read(get(b"Expect: " + value)).method == b"GET"


@pytest.mark.parametrize("value", [b"x", b"100-continue, x", b"200-ok", b"100-continue;q=1"])
def test_other_expectations_are_417(read, value: bytes) -> None:
    """RFC 9110 section 10.1.1."""
    assert refusal(read, get(b"Expect: " + value)) == (417, "expectation_failed")


def test_max_forwards_counts_for_trace_and_options_only(read) -> None:
    """RFC 9110 section 7.6.2: the relay answers at 0 and counts down before that."""
    line = b"Max-Forwards: 3"
    assert read(b"TRACE" + get(line)[3:]).extras == {b"max-forwards": b"3"}
    assert read(b"OPTIONS" + get(line)[3:]).extras == {b"max-forwards": b"3"}
    assert read(get(line)).extras is None
    for value in (b"9" * 10, b"00" + b"9" * 40):
        head = read(b"TRACE" + get(b"Max-Forwards: " + value)[3:])
        assert head.extras == {b"max-forwards": b"999999999"}, "the most that is known here"
    for value in (b"-1", b"x", b"", b"1, 2"):
        bad = get(b"Max-Forwards: " + value)[3:]
        assert refusal(read, b"TRACE" + bad) == (400, "bad_field")


def test_trace_has_no_body(read) -> None:
    """RFC 9110 section 9.3.8."""
    for line in (b"Content-Length: 1", b"Transfer-Encoding: chunked"):
        assert refusal(read, b"TRACE" + get(line)[3:]) == (400, "bad_framing")
    assert read(b"TRACE" + get(b"Content-Length: 0")[3:]).length == 0


# -- limits ------------------------------------------------------------------------------------

LIMITS = HeadLimits(max_line_bytes=40, max_head_bytes=200, max_fields=5)


def test_line_over_its_limit_is_414_before_it_ends(read) -> None:
    """RFC 9112 section 3: a request line longer than the server wishes to read."""
    assert read(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 26), LIMITS).target[26:] == b"a"
    too_long = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 27)
    assert refusal(read, too_long, LIMITS) == (414, "line_too_long")
    assert refusal(read, b"GET /" + b"a" * 36, LIMITS) == (414, "line_too_long")


def test_head_over_its_limit_is_431_before_it_ends(read) -> None:
    """RFC 6585 section 5."""
    padding = b"A: " + b"a" * (200 - len(get(b"A: ")))
    assert read(get(padding), LIMITS).end == 200
    assert refusal(read, get(padding + b"a"), LIMITS) == (431, "head_too_large")
    assert refusal(read, get(padding)[:-4] + b"a" * 9, LIMITS) == (431, "head_too_large")


def test_fields_over_their_limit_are_431_before_the_head_ends(read) -> None:
    """RFC 6585 section 5."""
    assert read(get(*[b"A: b"] * 4), LIMITS).end
    assert refusal(read, get(*[b"A: b"] * 5), LIMITS) == (431, "too_many_fields")
    assert refusal(read, get(*[b"A: b"] * 5)[:-2], LIMITS) == (431, "too_many_fields")


def test_first_fault_is_told(read) -> None:
    """A fault before the limit wins, one behind it is not looked for."""
    bad, good = b"A : b", b"A: b"
    assert refusal(read, get(good, bad, *[good] * 9), LIMITS) == (400, "bad_field")
    assert refusal(read, get(*[good] * 9, bad), LIMITS) == (431, "too_many_fields")
    assert refusal(read, get(b"A: " + b"a" * 300, bad), LIMITS) == (431, "head_too_large")
