"""Listening sockets: names stand for all of their addresses, faults name what cannot be had."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from bgproxy.config.settings import Address, Listener
from bgproxy.errors import StateError
from bgproxy.listeners import close_listeners, entrance_of, open_listeners, resolved

V4, V6, ELSEWHERE = "127.0.0.1", "::1", "192.0.2.1"


def resolving_to(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Have every name stand for these addresses."""

    def getaddrinfo(_host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (host, port)) for host in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_an_address_or_a_path_stands_for_itself() -> None:
    """Nothing is looked up."""
    for text in ("127.0.0.1:80", "[::1]:80", "unix:/x"):
        assert resolved(Address.parse(text)) == (Address.parse(text),)


def test_a_name_stands_for_each_of_its_addresses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the port that it was written with."""
    resolving_to(monkeypatch, V4, V4)
    assert resolved(Address("localhost", 80)) == (Address(V4, 80),)


def test_addresses_that_this_machine_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as ::1 in a container without IPv6; unless there is no other."""
    resolving_to(monkeypatch, ELSEWHERE, V4)
    assert resolved(Address("a.internal", 80)) == (Address(V4, 80),)
    resolving_to(monkeypatch, ELSEWHERE)
    with pytest.raises(StateError, match=r"cannot listen on 192\.0\.2\.1:80: "):
        open_listeners(resolved(Address("a.internal", 80)), 1)


def test_a_name_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name, and why."""

    def getaddrinfo(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    said = "cannot listen on a.invalid:80: its name does not resolve: Name or service not known"
    with pytest.raises(StateError, match=said):
        resolved(Address("a.invalid", 80))


def test_both_families_are_listened_on_by_every_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this machine has both."""
    resolving_to(monkeypatch, V6, V4)
    addresses = resolved(Address("localhost", 0))
    rows = open_listeners(addresses, 2)
    try:
        assert [len(row) for row in rows] == [len(addresses)] * 2
        for row in rows:
            for sock, address in zip(row, addresses, strict=True):
                assert sock.getsockname()[0] == address.host
    finally:
        close_listeners(rows)


def test_an_address_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some patience with a proxy that was just killed."""
    monkeypatch.setattr("bgproxy.listeners._PATIENCE_SECONDS", 0.0)
    with socket.create_server((V4, 0)) as taken:
        address = Address(V4, taken.getsockname()[1])
        with pytest.raises(StateError, match=f"cannot listen on {address}: Address already in use"):
            open_listeners((address,), 1)


def test_only_a_previews_listener_leads_to_a_preview() -> None:
    """By the address as the service's preview names it."""
    address = Address("localhost", 80)
    assert entrance_of(Listener(address)).preview == ""
    assert entrance_of(Listener(address, preview_of="shop")).preview == "localhost:80"
