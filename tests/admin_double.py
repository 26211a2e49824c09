"""An admin server over a control plane that only pretends: for tests of the API and its clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Self

from bgproxy.config.settings import Address, AdminSettings, Role, Token
from bgproxy.controlplane.events import Event, EventHub
from bgproxy.controlplane.metrics import Metrics
from bgproxy.controlplane.server import AdminServer
from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.approval import Decision
from bgproxy.domain.model import Color
from bgproxy.errors import Refused
from bgproxy.state.ledger import Ledger
from bgproxy.state.table import BackendRoute, RoutingTable, ServiceRoute

TOKENS = {role: f"{role.value}-token-0123456789" for role in Role}
AT = "2026-11-24T12:00:00.000Z"
LATER = "2026-11-24T12:00:01.500Z"


def deployment(**changes: Any) -> dict[str, Any]:
    """A DEPLOYMENT that has just been applied."""
    return {
        "id": 1,
        "service": "default",
        "from": "blue",
        "to": "green",
        "release": "v2",
        "generation": 2,
        "kind": "switch",
        "reason": "",
        "actor": "local",
        "irreversible": None,
        "held": None,
        "approved_by": None,
        "outcome": None,
        "safe_to_stop": False,
        "rollback_possible_until": None,
        "requested_at": AT,
        "applied_at": AT,
        "drained_at": None,
        "finished_at": None,
    } | changes


class FakeOperations:
    """Remembers what it was asked and answers what a test laid ready.

    `refusal` is raised by the next changes; `gate`, when set, holds them back until it is set;
    `looks` are the states in which the deployment is seen, one after another, the last one staying.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.called = asyncio.Event()
        self.refusal: Refused | None = None
        self.gate: asyncio.Event | None = None
        self.looks: list[dict[str, Any]] = [deployment()]
        self.ready: tuple[bool, str] = (True, "")
        self.active = "blue"
        self.generation = 1
        self.phase = "steady"
        self.names = ["default"]
        self.passed = True
        self.past = [deployment()]
        self.under_way: dict[str, Any] | None = None
        self.drain: dict[str, Any] | None = None
        self.bake: dict[str, Any] | None = None
        self.maintenance: dict[str, Any] | None = None
        self.locked: dict[str, Any] | None = None
        self.requests: dict[str, dict[str, Any]] = {}
        self.told: list[dict[str, Any]] = []
        self.counts: dict[tuple[str, str], int] = {}

    @property
    def inquiries(self) -> Self:
        return self

    async def find(self, request_id: str) -> dict[str, Any]:
        if request_id not in self.requests:
            raise Refused(404, "unknown-request", f"No worker remembers {request_id}.")
        return {"request_id": request_id, "requests": [self.requests[request_id]]}

    @property
    def notifier(self) -> Self:
        return self

    async def test(self, actor: str) -> dict[str, Any]:
        self.calls.append(("test", {"actor": actor}))
        return {"results": self.told}

    @property
    def permits(self) -> Self:
        return self

    async def lock(self, name: str, **asked: Any) -> dict[str, Any]:
        await self._change("lock", name, asked)
        until = asked["until"]
        self.locked = {
            "reason": asked["reason"],
            "by": asked["actor"],
            "since": AT,
            "until": None if until is None else rfc3339(until),
        }
        return self.service(name)

    async def unlock(self, name: str, actor: str) -> dict[str, Any]:
        await self._change("unlock", name, {"actor": actor})
        self.locked = None
        return self.service(name)

    async def decide(self, name: str, decision: Decision, **asked: Any) -> dict[str, Any]:
        await self._change(str(decision), name, asked)
        if decision is Decision.REJECTED:
            return deployment(outcome="failed", applied_at=None)
        return deployment(approved_by=asked["actor"])

    def service_names(self) -> list[str]:
        return list(self.names)

    def service(self, name: str) -> dict[str, Any]:
        if name not in self.names:
            raise Refused(404, "unknown-service", f"There is no service {name!r}.")
        return {
            "name": name,
            "active": self.active,
            "generation": self.generation,
            "phase": self.phase,
            "environments": {
                "blue": _environment("v1", "http://127.0.0.1:9001"),
                "green": _environment("v2", "http://127.0.0.1:9002"),
            },
            "deployment": self.under_way,
            "paused_until": None,
            "drain": self.drain,
            "bake": self.bake,
            "maintenance": self.maintenance,
            "locked": self.locked,
        }

    async def history(self, name: str, limit: int) -> list[dict[str, Any]]:
        self.service(name)
        return self.past[:limit]

    async def deployment(self, name: str, id: int | str) -> dict[str, Any]:
        self.service(name)
        if str(id) != "1":
            raise Refused(404, "unknown-deployment", f"{name} has no deployment {id}.")
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    async def audit(self, name: str | None, limit: int) -> list[dict[str, Any]]:
        if name is not None:
            self.service(name)
        row = {"at": AT, "service": name or "default", "actor": "local", "action": "pause"}
        row |= {"origin": "uid 0, pid 1"}
        return [row | {"before": {}, "after": {"timeout": 30}}][:limit]

    def diff(self, name: str) -> dict[str, Any]:
        self.service(name)
        return {"environments": {}}

    async def switch(self, name: str, **asked: Any) -> dict[str, Any]:
        await self._change("switch", name, asked)
        self.active, self.generation = "green", self.generation + 1
        return deployment(generation=self.generation, actor=asked["actor"])

    async def rollback(self, name: str, **asked: Any) -> dict[str, Any]:
        await self._change("rollback", name, asked)
        return deployment(kind="rollback", to="blue", **{"from": "green"})

    async def verify(self, name: str, color: Color | None, actor: str) -> dict[str, Any]:
        await self._change("verify", name, {"color": color, "actor": actor})
        check = {"name": "home", "passed": self.passed, "problem": "" if self.passed else "was 500"}
        return {"passed": self.passed, "environment": "green", "checks": [check]}

    async def plan(self, name: str, to: Color | None, actor: str) -> dict[str, Any]:
        await self._change("plan", name, {"to": to, "actor": actor})
        refusal = {"kind": "locked-after-rollback", "detail": "It was taken back."}
        finds = [{"failing": 1.0, "seconds": 8.0}, {"failing": 0.03, "seconds": None}]
        judge = {"rule": "sequential", "mode": "act", "bake": 600.0, "rate": 2.0, "usual": 0.001}
        return {
            "service": name,
            "from": "blue",
            "to": "green",
            "release": "v2",
            "would_switch": self.passed,
            "refusal": None if self.passed else refusal,
            "checks": [{"name": "home", "passed": self.passed}],
            "drain": {"requests": 3, "tunnels": 1, "timeout": 30.0, "tunnel_timeout": 60.0},
            "judge": judge | {"finds": finds},
        }

    async def set_backends(
        self, name: str, color: Color, backends: list[str], **asked: Any
    ) -> dict[str, Any]:
        await self._change("backends", name, {"color": color, "backends": backends} | asked)
        return self.service(name)

    async def pause(self, name: str, timeout: float, actor: str) -> dict[str, Any]:
        await self._change("pause", name, {"timeout": timeout, "actor": actor})
        return self.service(name)

    async def resume(self, name: str, actor: str) -> dict[str, Any]:
        await self._change("resume", name, {"actor": actor})
        return self.service(name)

    async def set_maintenance(self, name: str, **asked: Any) -> dict[str, Any]:
        await self._change("maintenance", name, asked)
        self.maintenance = None
        if asked["is_on"]:
            message = asked["message"] or "Closed."
            allow = list(asked["allow"])
            self.maintenance = {"message": message, "allow": allow, "since": AT, "by": "local"}
        return self.service(name)

    def is_ready(self) -> tuple[bool, str]:
        return self.ready

    async def _change(self, what: str, name: str, asked: dict[str, Any]) -> None:
        self.service(name)
        self.calls.append((what, asked))
        self.called.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        expected = asked.get("expected_generation")
        if expected is not None and expected != self.generation:
            detail = f"The generation is {self.generation}, not {expected}."
            raise Refused(409, "generation-mismatch", detail, {"generation": self.generation})


def _environment(release: str, url: str) -> dict[str, Any]:
    return {
        "release": release,
        "backends": [{"url": url, "healthy": True, "in_flight": 0}],
        "in_flight": 0,
        "requests_total": 1000,
        "errors_total": 5,
    }


def routing_table() -> RoutingTable:
    """One service, `default`, with one backend in each environment."""
    blue, green = (
        BackendRoute(slot, f"http://127.0.0.1:{port}", "http", "127.0.0.1", port, "", True, True)
        for slot, port in ((0, 9001), (1, 9002))
    )
    service = ServiceRoute("default", 0, 0, ("*",), ("/",), ((blue,), (green,)))
    return RoutingTable(1, (service,))


class Admin:
    """A running admin server and what stands behind it."""

    def __init__(self, **settings: Any) -> None:
        self.operations = FakeOperations()
        self.events = EventHub()
        self.ledger = Ledger.create(2)
        self.ledger.store_pointer(0, 1, Color.BLUE)
        self.table = routing_table()
        self.metrics = Metrics(self.ledger, lambda: self.table, has_scanner=False)
        given = {"listen": (Address("127.0.0.1", 0),), "tokens": (), "socket": "", **settings}
        self.server = AdminServer(
            AdminSettings(**given), self.operations, self.events, self.metrics
        )
        self.urls: list[str] = []

    @property
    def url(self) -> str:
        return self.urls[0]

    def publish(self, type: str, service: str, **data: Any) -> Event:
        """Publish an event from another thread than the server's."""
        done: Future[Event] = Future()
        self.loop.call_soon_threadsafe(
            lambda: done.set_result(self.events.publish(type, service, **data))
        )
        return done.result(10)

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self.urls = await self.server.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.server.stop()
        self.ledger.close()


def tokens() -> tuple[Token, ...]:
    """One token for each role; its name is the role's."""
    return tuple(Token(role.value, role, TOKENS[role]) for role in Role)


@contextmanager
def admin_in_thread(**settings: Any) -> Iterator[Admin]:
    """The same on a loop of its own, for tests of what blocks."""
    started = threading.Event()
    found: list[Admin] = []
    loop = asyncio.new_event_loop()
    finish = asyncio.Event()

    async def serve() -> None:
        async with Admin(**settings) as admin:
            found.append(admin)
            started.set()
            await finish.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert started.wait(10)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(finish.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()
