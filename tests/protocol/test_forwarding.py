"""What a proxy takes out of a message and adds to it."""

from __future__ import annotations

import pytest

from bgproxy.protocol.forwarding import (
    END_TO_END,
    HOP_BY_HOP,
    field_value,
    field_values,
    first_untrusted,
    forwarded_lines,
    is_set_aside,
    kept_request_id,
    list_members,
    shadowed_name,
    without,
)

ALL = {
    b"x-forwarded-for": b"1.1.1.1, 2.2.2.2",
    b"x-forwarded-proto": b"https",
    b"x-forwarded-host": b"outer.example",
    b"x-forwarded-port": b"443",
    b"forwarded": b"for=1.1.1.1",
    b"x-real-ip": b"1.1.1.1",
    b"x-request-start": b"t=1",
    b"x-bgproxy-preview": b"1",
    b"x-request-id": b"r",
    b"expect": b"100-continue",
}


def lines(extras, *, client: str = "9.9.9.9", host: bytes = b"a:80", is_trusted: bool = False):
    """The lines for a client that spoke plain HTTP."""
    return forwarded_lines(client, b"http", host, extras, is_trusted=is_trusted)


PLAIN = b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a:80\r\n"


def test_peer_is_named() -> None:
    """Who asked, how, and for what, with nothing from the client."""
    assert lines(None) == PLAIN
    assert lines(None, is_trusted=True) == PLAIN


def test_untrusted_peers_fields_are_replaced() -> None:
    """A client cannot make the backend believe another address."""
    assert lines(ALL) == PLAIN


def test_trusted_peers_fields_are_kept_and_extended() -> None:
    """The chain grows by one hop (RFC 7239 section 5.2); what says more than we know stays."""
    assert lines(ALL, is_trusted=True) == (
        b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 9.9.9.9\r\n"
        b"X-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: outer.example\r\n"
        b"X-Forwarded-Port: 443\r\n"
        b"X-Real-IP: 1.1.1.1\r\n"
        b'Forwarded: for=1.1.1.1, for=9.9.9.9;proto=http;host="a:80"\r\n'
    )


def test_trusted_peer_that_says_nothing_is_named() -> None:
    """What it left out is what we see."""
    assert lines({b"x-request-id": b"r"}, is_trusted=True) == PLAIN
    assert lines({b"x-forwarded-proto": b"https"}, is_trusted=True) == (
        b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a:80\r\n"
    )


def test_what_is_not_known_is_left_out() -> None:
    """A unix socket has no address, an HTTP/1.0 client names no host."""
    assert lines(None, client="", host=b"") == b"X-Forwarded-Proto: http\r\n"
    extras = {b"forwarded": b"for=1.1.1.1"}
    assert lines(extras, client="", host=b"", is_trusted=True) == (
        b"X-Forwarded-Proto: http\r\nForwarded: for=1.1.1.1, for=unknown;proto=http\r\n"
    )


def test_ipv6_addresses_are_written_as_each_field_wants_them() -> None:
    """Bare in X-Forwarded-For, in brackets and quotes in Forwarded (RFC 7239 section 6)."""
    extras = {b"forwarded": b"for=a"}
    written = lines(extras, client="2001:db8::1", is_trusted=True)
    assert b"X-Forwarded-For: 2001:db8::1\r\n" in written
    assert b'Forwarded: for=a, for="[2001:db8::1]";proto=http' in written


def test_upgrade_te_and_max_forwards_are_this_hops_own() -> None:
    """RFC 9110 sections 7.6.1, 7.6.2 and 7.8."""
    assert lines({b"upgrade": b"websocket"}) == (
        PLAIN + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    )
    assert lines({b"te": b"trailers"}) == PLAIN + b"Connection: TE\r\nTE: trailers\r\n"
    assert lines({b"te": b"trailers", b"upgrade": b"x"}) == (
        PLAIN + b"Connection: Upgrade, TE\r\nUpgrade: x\r\nTE: trailers\r\n"
    )
    assert lines({b"max-forwards": b"3"}) == PLAIN + b"Max-Forwards: 2\r\n"


@pytest.mark.parametrize(
    ("name", "shadowed"),
    [
        (b"x_forwarded_for", b"x-forwarded-for"),
        (b"x-forwarded_for", b"x-forwarded-for"),
        (b"x.real.ip", b"x-real-ip"),
        (b"x_bgproxy_preview", b"x-bgproxy-preview"),
        (b"content_length", b"content-length"),
        (b"content-length", None),
        (b"x-forwarded-for", None),
        (b"x_own", None),
        (b"contentlength", None),
    ],
)
def test_shadows_are_seen(name: bytes, shadowed: bytes | None) -> None:
    """What CGI and WSGI cannot tell from a field that means something."""
    assert shadowed_name(name) == shadowed


def test_every_forwarding_field_is_set_aside() -> None:
    """The whole family, so that a name that some framework trusts is not forgotten."""
    for name in (b"x-forwarded-for", b"x-forwarded-client-cert", b"forwarded", b"x-real-ip"):
        assert is_set_aside(name)
    assert is_set_aside(b"x-bgproxy-preview")
    assert not is_set_aside(b"x-forwarded")
    assert not HOP_BY_HOP & END_TO_END


def test_list_members() -> None:
    """Empty members are allowed and mean nothing (RFC 9110 section 5.6.1)."""
    assert list_members(b" A ,,b\t,\t, c;q=1") == [b"a", b"b", b"c;q=1"]
    assert list_members(b"") == []


def test_field_value_finds_the_first_one() -> None:
    """In whatever spelling, trimmed; never in the first line, in a value or a part of a name."""
    head = b"GET /accept: HTTP/1.1\r\nX-Accept: 0\r\nA: accept: 1\r\nACCEPT:\t2 \r\naccept: 3\r\n"
    assert field_value(head, b"accept") == b"2"
    assert field_value(head, b"x") == b""


def test_field_values_finds_every_line() -> None:
    """Names whole and in any case; values without the white space around them."""
    head = b"GET /a: HTTP/1.1\r\na: 1\r\nAA: 2\r\nA:\r\nb: a: 3\r\nA:\t4 \r\n"
    assert field_values(head, b"a") == [b"1", b"", b"4"]
    assert field_values(head, b"c") == []


def test_without_keeps_the_first_line() -> None:
    """It is no field, whatever it looks like."""
    kept = without([b"a: b", b"A: c", b"B: d"], {b"a"})
    assert kept == [b"a: b", b"B: d"]


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"1.1.1.1", "1.1.1.1"),
        (b"1.1.1.1, 10.0.0.1, 10.0.0.2", "1.1.1.1"),
        (b"6.6.6.6, 1.1.1.1,10.0.0.1", "1.1.1.1"),
        (b"2001:db8::1, 10.0.0.1", "2001:db8::1"),
        (b"10.0.0.1, 10.0.0.2", None),
        (b"1.1.1.1, nonsense", None),
        (b"1.1.1.1:80, 10.0.0.1", None),
        (b"\xe9", None),
        (b"", None),
    ],
)
def test_client_is_the_last_address_that_no_balancer_of_ours_has(value: bytes, client) -> None:
    """What stands further left is the client's own claim."""
    extras = {b"x-forwarded-for": value}
    assert first_untrusted(extras, lambda address: address.startswith("10.")) == client


def test_who_sends_no_chain_speaks_for_nobody() -> None:
    """Then the peer is the client."""
    assert first_untrusted(None, bool) is None
    assert first_untrusted({b"x-real-ip": b"1.1.1.1"}, bool) is None


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        (b"8e6b1c3a-2f0e", True),
        (b"Root=1-67891233:abc/+=@~._", True),
        (b"a" * 128, True),
        (b"a" * 129, False),
        (b"", False),
        (b"a b", False),
        (b"a, b", False),
        (b'a"', False),
        (b"\xe9", False),
    ],
)
def test_request_id_is_kept_if_it_can_do_no_harm(value: bytes, is_kept: bool) -> None:
    """Neither in a log line nor in a query."""
    assert kept_request_id({b"x-request-id": value}) == (value if is_kept else None)
    assert kept_request_id(None) is None
