"""Addresses to listen on, and secrets that stay unseen."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.config import settings
from bgproxy.config.settings import Address, Role, Token
from bgproxy.state import ledger


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::1]:80", Address("::1", 80)),
        ("[0:0:0:0:0:0:0:0]:80", Address("::", 80)),
        ("unix:/run/bgproxy.sock", Address("", 0, "/run/bgproxy.sock")),
        ("unix:run/x", Address("", 0, "run/x")),
        ("LocalHost.:80", Address("localhost", 80)),
        ("a-1.internal:80", Address("a-1.internal", 80)),
    ],
)
def test_addresses_are_ip_or_name_and_port_or_a_path(text, address):
    """Hosts come out canonical and without brackets, paths as given."""
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8080", "'8080' has no port; write 127.0.0.1:8080, or 0.0.0.0:8080"),
        ("127.0.0.1", "'127.0.0.1' has no port; write address:port"),
        ("127.0.1:80", "'127.0.1' is neither an IP address nor a host name; write 127.0.0.1:80"),
        (":80", "'' is neither an IP address nor a host name; write 127.0.0.1:80, or 0.0.0.0:80"),
        ("*:80", r"'\*' is neither an IP address nor a host name; write 127.0.0.1:80"),
        ("::1:80", r"'::1:80' could be read in two ways; write \[::1\]:80"),
        ("[::g]:80", r"'::g' is not an IPv6 address; write \[::1\]:80"),
        ("[::1]", r"'1\]' is not a port"),
        ("127.0.0.1:65536", "'65536' is not a port; write a number from 0 to 65535"),
        ("127.0.0.1:http", "'http' is not a port"),
        ("127.0.0.1:-1", "'-1' is not a port"),
        ("unix:", "'unix:' is not the path of a socket; write unix:PATH"),
        ("unix:/" + "x" * 107, "is not the path of a socket; write unix:PATH, at most 107 bytes"),
    ],
)
def test_other_addresses_are_refused_with_what_to_write(text, said):
    """Names, bare ports and ambiguous texts each get their own remedy."""
    with pytest.raises(ValueError, match=said):
        Address.parse(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_comes_back(host, port):
    """Writing and reading give the same address."""
    address = Address(str(host), port)
    assert Address.parse(str(address)) == address


@given(st.text(max_size=30))
def test_no_text_raises_anything_but_a_value_error(text):
    """Whatever the text, there is an address that comes back, or the one kind of error."""
    with contextlib.suppress(ValueError):
        address = Address.parse(text)
        assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("one", "other", "clashes"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("0.0.0.0:80", "127.0.0.2:80", True),
        ("127.0.0.2:80", "0.0.0.0:80", True),
        ("[::]:80", "0.0.0.0:80", False),
        ("[::]:80", "[::1]:80", True),
        ("0.0.0.0:0", "0.0.0.0:0", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "127.0.0.1:80", False),
        ("localhost:80", "localhost:80", True),
        ("localhost:80", "0.0.0.0:80", True),
        ("localhost:80", "127.0.0.1:80", False),
    ],
)
def test_addresses_clash_when_both_cannot_be_had(one, other, clashes):
    """A wildcard takes the port on every address of its family; port 0 is never the same."""
    assert Address.parse(one).clashes_with(Address.parse(other)) is clashes


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("127.0.0.1:80", True),
        ("127.9.9.9:80", True),
        ("[::1]:80", True),
        ("unix:/a", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("192.0.2.1:80", False),
        ("localhost:80", True),
        ("a.internal:80", False),
    ],
)
def test_only_this_machine_reaches_loopback_addresses_and_sockets(text, is_loopback):
    """A wildcard address is reached from everywhere."""
    assert Address.parse(text).is_loopback is is_loopback


def test_a_token_shown_does_not_show_its_secret():
    """Neither repr nor str, which logs and tracebacks use."""
    token = Token("ci", Role.SWITCH, "hunter2-hunter2")
    assert "hunter2" not in f"{token!r} {token}"


def test_bounds_are_those_of_the_shared_memory():
    """The ledger's room is what a file may ask for."""
    assert settings.MAX_WORKERS == ledger.MAX_WORKERS
    assert settings.MAX_SERVICES == ledger.MAX_SERVICES
    assert settings.MAX_BACKENDS == ledger.MAX_BACKENDS
