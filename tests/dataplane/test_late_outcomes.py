"""However requests and switches interleave, an outcome belongs to the generation it began in."""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bgproxy.controlplane.record import judged
from bgproxy.dataplane.downstream import Downstream
from bgproxy.dataplane.upstream import Upstream
from bgproxy.dataplane.worker import Worker
from bgproxy.domain.model import COLORS, Color
from bgproxy.state.ledger import Ledger
from bgproxy.state.posting import WorkerArguments
from bgproxy.state.table import BackendRoute, RoutingTable, ServiceRoute

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWERS = {
    True: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    False: b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
}
CLIENTS = 3


class Sink:
    """A transport that swallows everything."""

    def write(self, data: bytes) -> None: ...

    def writelines(self, pieces: object) -> None: ...

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 40000) if name == "peername" else None

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...


def backend(slot: int) -> BackendRoute:
    address = f"127.0.0.1:{9001 + slot}"
    return BackendRoute(
        slot, f"http://{address}", "http", "127.0.0.1", 9001 + slot, address, True, True
    )


class LateOutcomes(RuleBasedStateMachine):
    """A worker's connections over a real ledger, without sockets: all happens when it is told to.

    `open` are the requests under way with the generation in which each began; `expected` is what
    the judge has to see.
    """

    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger.create(1)
        self.ledger.store_pointer(0, 1, Color.BLUE)
        self.loop = asyncio.new_event_loop()
        self.worker = Worker(
            WorkerArguments(0, 1, os.dup(self.ledger.fd), -1, (), 1), cast("Any", self.loop)
        )
        self.worker._say = lambda *_: None  # type: ignore[method-assign]
        service = ServiceRoute("s", 0, 0, ("*",), ("/",), ((backend(0),), (backend(1),)))
        self.worker.routes.apply(RoutingTable(1, (service,)))
        self.clients = [Downstream(self.worker) for _ in range(CLIENTS)]
        for client in self.clients:
            client.connection_made(cast("asyncio.Transport", Sink()))
        for side in self.worker.routes.services[0].environments:
            for _ in range(CLIENTS):
                upstream = Upstream(self.worker, side.backends[0])
                upstream.connection_made(cast("asyncio.Transport", Sink()))
                upstream.rest()
        self.generation, self.active = 1, Color.BLUE
        self.open: dict[int, tuple[int, Color]] = {}
        self.expected = dict.fromkeys(COLORS, (0, 0))
        self.ended = dict.fromkeys(COLORS, 0)

    @rule(client=st.integers(0, CLIENTS - 1))
    def request(self, client: int) -> None:
        if client in self.open:
            return
        self.worker.scratch[: len(REQUEST)] = REQUEST
        self.clients[client].buffer_updated(len(REQUEST))
        self.open[client] = (self.generation, self.active)
        assert self.clients[client].environment.color is self.active

    @precondition(lambda self: self.open)
    @rule(data=st.data(), succeeds=st.booleans())
    def answer(self, data: st.DataObject, succeeds: bool) -> None:
        client = data.draw(st.sampled_from(sorted(self.open)))
        generation, color = self.open.pop(client)
        upstream = self.clients[client].upstream
        assert upstream is not None
        self.worker.scratch[: len(ANSWERS[succeeds])] = ANSWERS[succeeds]
        upstream.buffer_updated(len(ANSWERS[succeeds]))
        self.ended[color] += 1
        if generation == self.generation:
            successes, failures = self.expected[color]
            self.expected[color] = (successes + succeeds, failures + (not succeeds))

    @rule()
    def move_the_pointer(self) -> None:
        self.generation, self.active = self.generation + 1, self.active.other
        self.ledger.store_pointer(0, self.generation, self.active)

    @invariant()
    def the_judge_sees_only_what_ended_in_its_own_generation(self) -> None:
        for color in COLORS:
            seen = judged(self.ledger.series(0, color))
            assert (seen.successes, seen.failures) == self.expected[color]
            by_client = sum(self.ledger.clients(0, color))
            assert by_client == self.expected[color][1]

    @invariant()
    def everything_is_counted_and_nothing_is_left(self) -> None:
        for color in COLORS:
            assert self.ledger.series(0, color).requests == self.ended[color]
            under_way = sum(where is color for _, where in self.open.values())
            assert self.ledger.in_flight((color.index,)) == (under_way, 0)

    def teardown(self) -> None:
        self.loop.close()
        os.close(self.worker.ledger.fd)  # the worker holds its mapping to its end
        self.ledger.close()


TestLateOutcomes = LateOutcomes.TestCase
TestLateOutcomes.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
