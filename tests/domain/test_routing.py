"""Host and path to service."""

from __future__ import annotations

import pytest

from bgproxy.domain.routing import Router, host_name

ROUTER = Router(
    [
        (["*"], ["/"], "any"),
        (["*"], ["/static"], "static"),
        (["example.com"], ["/"], "example"),
        (["example.com", "*.example.com"], ["/api/", "/api/v2"], "api"),
        (["*.deep.example.com"], ["/only"], "deep"),
    ]
)


@pytest.mark.parametrize(
    ("host", "target", "value"),
    [
        (b"other.org", b"/", "any"),
        (b"other.org", b"/static/x.css", "static"),
        (b"other.org", b"/static", "static"),
        (b"other.org", b"/staticx", "any"),
        (b"EXAMPLE.com:8080", b"/x?/api", "example"),
        (b"example.com.", b"/", "example"),
        (b"example.com", b"/api", "api"),
        (b"example.com", b"/api/v2/x?y", "api"),
        (b"www.example.com", b"/api/1", "api"),
        (b"www.example.com", b"/", "any"),
        (b"a.deep.example.com", b"/only/x", "deep"),
        (b"a.deep.example.com", b"/api", "api"),
        (b"deep.example.com", b"/only", "any"),
        (b"[::1]:80", b"/", "any"),
        (b"", b"*", "any"),
    ],
)
def test_most_specific_host_then_longest_prefix_wins(
    host: bytes, target: bytes, value: str
) -> None:
    """Hosts are compared without case and port; prefixes by whole segments."""
    assert ROUTER.find(host, target) == value
    assert ROUTER.find(host, target) == value, "the remembered answer is the same"


def test_no_rule_no_value() -> None:
    """A host that no rule names has no service."""
    router = Router([(["a.example"], ["/x"], 1)])
    assert router.find(b"b.example", b"/x") is None
    assert router.find(b"a.example", b"/y") is None
    assert router.only is None


def test_one_service_for_everything_needs_no_lookup() -> None:
    """The plain configuration is known as such."""
    assert Router([(["*"], ["/"], "x")]).only == "x"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"Shop.Example.com", b"shop.example.com"),
        (b"shop.example.com.:8080", b"shop.example.com"),
        (b"[2001:DB8::1]:80", b"[2001:db8::1]"),
        (b"", b""),
    ],
)
def test_a_host_is_known_by_its_name(host: bytes, name: bytes) -> None:
    """Whatever its case, its port and a final dot."""
    assert host_name(host) == name


def test_memory_of_hosts_is_bounded() -> None:
    """A client that sends ever new Hosts cannot make the router grow."""
    for number in range(5000):
        assert ROUTER.find(b"h%d.example.com" % number, b"/api") == "api"
    assert len(ROUTER._cache) <= 1024
