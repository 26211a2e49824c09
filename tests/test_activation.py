"""Which of the passed sockets are taken, and for what."""

from __future__ import annotations

import os
import socket

import pytest

from bgproxy import activation
from bgproxy.activation import Activation, PassedSocket
from bgproxy.config.settings import Address
from bgproxy.errors import StateError
from bgproxy.listeners import close_listeners, open_listeners


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> int:
    """The descriptor of a listening socket, which is where passed ones begin."""
    sock = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(activation, "FIRST_FD", sock.fileno())
    return sock.detach()


def _environ(**changes: str) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"} | changes


def test_sockets_are_taken_once(listening: int) -> None:
    """The variables are gone afterwards, and no child inherits the descriptor unasked."""
    os.set_inheritable(listening, True)
    environ = _environ(PATH="/bin")
    passed = Activation.take(environ)
    assert environ == {"PATH": "/bin"}
    assert not os.get_inheritable(listening)
    with socket.socket(fileno=os.dup(listening)) as sock:
        address = Address(*sock.getsockname())
    rows = open_listeners((address,), 2, passed=passed)
    assert [len(row) for row in rows] == [1, 1]
    assert all(isinstance(sock, PassedSocket) for row in rows for sock in row)
    close_listeners(rows)


def test_sockets_of_another_process_are_left_alone(listening: int) -> None:
    """They were meant for a parent that has passed its environment on."""
    environ = _environ(LISTEN_PID="1")
    Activation.take(environ).expect_none_left()
    assert environ["LISTEN_PID"] == "1"
    os.close(listening)


def test_a_socket_without_a_listener_is_named(listening: int) -> None:
    """By its name in the unit."""
    passed = Activation.take(_environ())
    with pytest.raises(StateError, match=r"127\.0\.0\.1:\d+ \(http\)"):
        open_listeners((), 2, passed=passed)


def test_what_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `Accept=yes` or a datagram socket would be."""
    sock = socket.socket()
    monkeypatch.setattr(activation, "FIRST_FD", sock.detach())
    with pytest.raises(StateError, match="no listening stream socket"):
        Activation.take(_environ())


def test_what_is_no_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, for example."""
    reading, writing = os.pipe()
    os.close(writing)
    monkeypatch.setattr(activation, "FIRST_FD", reading)
    with pytest.raises(StateError, match="is no socket"):
        Activation.take(_environ())
    os.close(reading)
