"""The end of an idle connection whose client has not taken all of the last answer."""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from bgproxy.dataplane.downstream import Downstream
from bgproxy.dataplane.worker import Worker
from bgproxy.state.ledger import Ledger
from bgproxy.state.posting import WorkerArguments


class Stuck:
    """A transport with bytes that nobody takes."""

    is_closed = is_aborted = False

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 40000) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return 1000

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


async def test_a_client_that_takes_nothing_is_let_go_of() -> None:
    """Closing waits for it, and the wait has an end."""
    ledger = Ledger.create(1)
    arguments = WorkerArguments(0, 1, os.dup(ledger.fd), -1, (), 1)
    worker = Worker(arguments, cast("Any", asyncio.get_running_loop()))
    client, transport = Downstream(worker), Stuck()
    client.connection_made(cast("asyncio.Transport", transport))
    for _ in range(3):
        assert client.deadline < worker.now + 100, "it is looked at again"
        worker.now = client.deadline + 1
        client.expire()
    assert transport.is_closed
    assert transport.is_aborted
    worker.sockets.close()
    os.close(ledger.fd)
