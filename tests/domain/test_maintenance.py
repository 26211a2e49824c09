"""Who is let in while a service is closed."""

from __future__ import annotations

import pytest

from bgproxy.domain.maintenance import Gate, read_networks

GATE = Gate(("10.0.0.0/8", "2001:db8::/32"), "/healthz?full=1")


@pytest.mark.parametrize(
    ("client", "target", "is_let_in"),
    [
        ("10.1.2.3", b"/", True),
        ("11.1.2.3", b"/", False),
        ("2001:db8::7", b"/", True),
        ("2001:db9::7", b"/", False),
        ("::ffff:10.1.2.3", b"/", True),
        ("", b"/", False),
        ("no address", b"/", False),
        ("11.1.2.3", b"/healthz", True),
        ("11.1.2.3", b"/healthz?x", True),
        ("11.1.2.3", b"/healthz/", False),
        ("11.1.2.3", b"/healthzz", False),
    ],
)
def test_the_listed_and_the_health_path_pass(client: str, target: bytes, is_let_in: bool) -> None:
    """By the client's address, IPv4 in IPv6 clothes too, or by the path without its query."""
    assert GATE.lets_in(client, target) is is_let_in


def test_an_empty_list_lets_nobody_in() -> None:
    """But for the health path."""
    gate = Gate((), "/healthz")
    assert not gate.lets_in("127.0.0.1", b"/")
    assert gate.lets_in("127.0.0.1", b"/healthz")


def test_networks_are_canonical_and_each_stands_once() -> None:
    """An address is the network of itself alone."""
    read = read_networks(["10.0.0.0/8", "::1", "192.0.2.7", "0:0::1"])
    assert read == ("10.0.0.0/8", "::1/128", "192.0.2.7/32")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "office", "", "10.0.0.0/33"])
def test_what_is_no_network_is_named(text: str) -> None:
    """With what would be right."""
    with pytest.raises(ValueError, match="is not a network; write one such as") as refusal:
        read_networks(["::1", text])
    assert repr(text) in str(refusal.value)
