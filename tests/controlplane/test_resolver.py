"""Names: resolved again, and kept when that fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bgproxy.controlplane import resolver as module
from bgproxy.controlplane.resolver import Resolver


class Names:
    """A stand-in for the system's look-up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.was_asked = asyncio.Condition()
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", self.look_up)

    async def look_up(self, name: str, port: Any, **_: Any) -> list[Any]:
        async with self.was_asked:
            self.asked.append(name)
            self.was_asked.notify_all()
        if name not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(2, 1, 6, "", (address, 0)) for address in self.known[name]]

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(5), self.was_asked:
            await self.was_asked.wait_for(lambda: len(self.asked) >= times)


class Follower:
    """A resolver, the names it asks for, and what it told."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.changed: asyncio.Queue[str] = asyncio.Queue()
        self.resolver = Resolver(self.changed.put_nowait)


@pytest.fixture
async def follower(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Follower]:
    """One that asks for names without pauses."""
    monkeypatch.setattr(module, "_MIN_GAP", 0.0)
    follower = Follower(Names(monkeypatch))
    yield follower
    await follower.resolver.stop()


async def test_first_look_up_is_bounded(follower: Follower) -> None:
    """Names that are there are known afterwards; others do not hold the start up."""
    follower.names.known = {"a": ["10.0.0.2", "10.0.0.1", "10.0.0.1"]}
    await follower.resolver.look_up(["a", "missing"], timeout=5)
    assert follower.resolver.addresses("a") == ("10.0.0.1", "10.0.0.2")
    assert follower.resolver.addresses("missing") == ()


async def test_a_change_is_told(follower: Follower) -> None:
    """Trouble at a backend brings the next look-up forward."""
    follower.names.known = {"a": ["10.0.0.1"]}
    follower.resolver.watch(["a"])
    assert await follower.changed.get() == "a"
    follower.names.known = {"a": ["10.0.0.9"]}
    follower.resolver.poke("a")
    assert await follower.changed.get() == "a"
    assert follower.resolver.addresses("a") == ("10.0.0.9",)


async def test_a_failure_keeps_what_was_known(follower: Follower) -> None:
    """A name server that is away takes nobody's backends away."""
    follower.names.known = {"a": ["10.0.0.1"]}
    follower.resolver.watch(["a"])
    await follower.changed.get()
    follower.names.known = {}
    follower.resolver.poke("a")
    await follower.names.until_asked(2)
    assert follower.resolver.addresses("a") == ("10.0.0.1",)
    assert follower.changed.empty()


async def test_only_watched_names_are_followed(follower: Follower) -> None:
    """Names that nobody uses any more are let go."""
    follower.names.known = {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}
    follower.resolver.watch(["a", "b"])
    assert {await follower.changed.get(), await follower.changed.get()} == {"a", "b"}
    follower.resolver.watch(["b"])
    follower.resolver.poke("a")
    follower.resolver.poke("nobody")
    follower.resolver.poke("b")
    await follower.names.until_asked(3)
    assert follower.names.asked[2:] == ["b"]
