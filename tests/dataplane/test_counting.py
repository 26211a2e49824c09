"""What of an exchange's end the ledger counts, and what the judge makes of it."""

from __future__ import annotations

import pytest

from bgproxy.controlplane.record import judged
from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from tests.dataplane.harness import Backend, answering, read_head, running, table_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FAILING = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("is_late", [True, False])
async def test_what_a_client_ended_late_or_on_an_excluded_path_is_left_out_once(
    is_late: bool,
) -> None:
    """It takes nothing off what the judge sees of the others; failures are left out as such."""

    async def handle(reader, writer):
        while True:
            target = (await read_head(reader)).split(b" ")[1]
            if target == b"/":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            elif await reader.read(1):  # silent; a byte lets it fail
                writer.write(FAILING)

    backend = await Backend(handle).start()
    exclude = () if is_late else ("/probe",)
    async with running(table_of([backend.port], [], exclude_paths=exclude)) as proxy:
        for _ in range(3):
            await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        clients = [await proxy.connect() for _ in range(2)]
        for _, writer in clients:
            writer.write(b"POST /probe HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        await proxy.until(lambda: proxy.in_flight() == (2, 0))
        if is_late:
            await proxy.switch(Color.GREEN)
        leaving, staying = clients
        leaving[1].transport.abort()
        await proxy.until(lambda: Reason.CLIENT_ABORT in proxy.totals().reasons)
        staying[1].write(b"x")
        await read_head(staying[0])
        staying[1].close()
        await proxy.until(lambda: proxy.in_flight() == (0, 0))
        totals = proxy.totals()
        assert totals.codes == {200: 3, 499: 1, 500: 1}
        assert (totals.late, totals.excluded) == ((1, 0) if is_late else (0, 1))
        assert (judged(totals).successes, judged(totals).failures) == (3, 0)


async def test_who_asks_is_known_from_a_sample() -> None:
    """A visit of each tick; none on paths that are not judged, none of what is late."""
    backend = await Backend(answering(OK)).start()
    async with running(table_of([backend.port], [], exclude_paths=("/probe",))) as proxy:
        await proxy.talk(b"GET /probe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert sum(proxy.ledger.visits(0, Color.BLUE)) == 0
        for _ in range(3):
            await proxy.talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        visits = proxy.ledger.visits(0, Color.BLUE)
        assert 1 <= sum(visits) <= 3
        assert visits[proxy.ledger.client_slot("127.0.0.1")] == sum(visits)
        assert sum(proxy.ledger.clients(0, Color.BLUE)) == 0
