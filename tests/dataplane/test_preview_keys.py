"""Keys held against heads: what opens, and what is left of a head without them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.dataplane.preview_keys import PreviewKeys
from bgproxy.domain.preview import NO_KEY, Key, Preview, PreviewCookie, Purpose, sign
from bgproxy.protocol.values import RequestHead

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1000.0
GOOD = sign(SECRET, "shop", Purpose.COOKIE, NOW + 1).encode()
BASIC = b"Authorization: Basic " + base64.b64encode(b"eve:" + SECRET.encode())
KEYS = PreviewKeys(
    Preview(
        hosts=("green.example.com", "[::1]"),
        header=("X-Preview", SECRET),
        cookie=PreviewCookie(SECRET),
        networks=("10.0.0.0/8", "fd00::/8"),
        users=(("eve", SECRET), ("jürgen", "ä" * 20)),
    ),
    "shop",
)


def head(*lines: bytes, host: bytes = b"shop.example.com") -> RequestHead:
    """A GET with these lines."""
    text = b"\r\n".join((b"GET /a:b HTTP/1.1", b"Host: " + host, *lines, b""))
    return RequestHead(0, b"GET", b"/a:b", host, text, 0, 1, True, None)


def held(*lines: bytes, host: bytes = b"shop.example.com", address: str = "192.0.2.1") -> Key:
    return KEYS.held_by(head(*lines, host=host), address, NOW, is_apart=False)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b"X-Preview: " + SECRET.encode(), Key.HEADER),
        (b"x-preview:\t%b \t" % SECRET.encode(), Key.HEADER),
        (b"Cookie: bgproxy_preview=" + GOOD, Key.COOKIE),
        (b'cookie: a=1;bgproxy_preview="%b" ; b=2' % GOOD, Key.COOKIE),
        (b"Cookie: bgproxy_preview=old; bgproxy_preview=" + GOOD, Key.COOKIE),
        (BASIC, Key.USER),
        (b"authorization: basic  " + base64.b64encode(b"eve:" + SECRET.encode()), Key.USER),
        (
            b"Authorization: Basic " + base64.b64encode("jürgen:".encode() + "ä".encode() * 20),
            Key.USER,
        ),
    ],
)
def test_a_key_is_known_however_it_is_spelled(line: bytes, key: Key) -> None:
    """As far as HTTP leaves the spelling free."""
    assert held(line) is key


@pytest.mark.parametrize(
    "lines",
    [
        (b"X-Preview: %b" % SECRET.encode(),) * 2,
        (b"X-Preview: %b" % SECRET.encode(), b"X-PREVIEW:"),
        (b"X-Preview: %b %b" % (SECRET.encode(), SECRET.encode()),),
        (BASIC, BASIC),
        (BASIC, b"Authorization: Bearer x"),
        (b"Cookie: bgproxy_preview=%b.x" % GOOD,),
        (b"Cookie: bgproxy_preview",),
        (b"Cookie: %b" % GOOD,),
        (b"Authorization: Basic " + base64.b64encode(b"eve" + SECRET.encode()),),
        (b"Authorization: Basic " + base64.b64encode(b"adam:" + SECRET.encode()),),
        (b"Authorization: Basic e===",),
        (b"Authorization: Basic",),
        (b"Authorization:",),
        (b"Proxy-" + BASIC,),
    ],
)
def test_what_is_doubled_or_broken_is_no_key(lines: tuple[bytes, ...]) -> None:
    """No two readers could take it for different things."""
    assert held(*lines) is NO_KEY


@pytest.mark.parametrize(
    ("host", "is_held"),
    [
        (b"green.example.com", True),
        (b"GREEN.example.com.:443", True),
        (b"[::1]:80", True),
        (b"green.example.com.evil.example", False),
        (b"xgreen.example.com", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_hosts_are_known_as_the_router_knows_them(host: bytes, is_held: bool) -> None:
    """Case, port and final dot aside."""
    assert (held(host=host) is Key.HOST) is is_held


@pytest.mark.parametrize(
    ("address", "is_held"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("11.0.0.1", False),
        ("::1", False),
        ("", False),
        ("10.1.2.3.4", False),
    ],
)
def test_networks_hold_addresses_and_nothing_else(address: str, is_held: bool) -> None:
    """An IPv4 client on an IPv6 listener is itself."""
    assert (held(address=address) is Key.NETWORK) is is_held


def test_a_listener_of_its_own_is_a_key() -> None:
    """Beside all others."""
    keys = KEYS.held_by(head(BASIC), "10.0.0.1", NOW, is_apart=True)
    assert keys == Key.LISTENER | Key.USER | Key.NETWORK


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ((b"A: 1", b"X-Preview: right", b"x-PREVIEW: wrong", b"B: 2"), (b"A: 1", b"B: 2")),
        ((b"Cookie: bgproxy_preview=x",), ()),
        ((b"Cookie: a=1;bgproxy_preview=x;b=2",), (b"Cookie: a=1; b=2",)),
        ((b"Cookie: a=bgproxy_preview=x",), (b"Cookie: a=bgproxy_preview=x",)),
        ((b"A: bgproxy_preview=x",), (b"A: bgproxy_preview=x",)),
        ((BASIC,), (BASIC,)),
        ((b"A:  1 ", b"b:\t2"), (b"A:  1 ", b"b:\t2")),
    ],
)
def test_keys_are_taken_out_and_nothing_else(
    lines: tuple[bytes, ...], left: tuple[bytes, ...]
) -> None:
    """Whether they are right or not; what is not touched stays byte for byte."""
    assert KEYS.forget(head(*lines).lines, NO_KEY) == head(*left).lines


def test_a_password_is_taken_out_where_it_was_one() -> None:
    """Authorization of other kinds is the backend's."""
    assert KEYS.forget(head(BASIC, b"A: 1").lines, Key.USER) == head(b"A: 1").lines


_TEXT = st.binary(max_size=60).map(lambda text: text.translate(None, b"\r\n\0"))


@given(st.lists(st.tuples(st.sampled_from([b"Cookie", b"Authorization", b"X-Preview"]), _TEXT)))
def test_whatever_a_client_sends_is_looked_at(fields: list[tuple[bytes, bytes]]) -> None:
    """Nothing is raised, nothing opens, and no key is passed on."""
    lines = [b"%b: %b" % field for field in fields]
    assert held(*lines) is NO_KEY
    left = KEYS.forget(head(*lines).lines, NO_KEY)
    assert b"\r\nX-Preview:" not in left
    assert left.startswith(b"GET /a:b HTTP/1.1\r\nHost: shop.example.com\r\n")
    assert left.endswith(b"\r\n")
    assert b"\r\n\r\n" not in left
