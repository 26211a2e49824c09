"""Publishing: changes gather, failures are tried again, and settling is certain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from bgproxy.controlplane import publisher as module
from bgproxy.controlplane.fleet import Fleet
from bgproxy.controlplane.publisher import Publisher
from bgproxy.state.ledger import Ledger
from bgproxy.state.table import RoutingTable
from tests.controlplane.harness import FakeFleet


@pytest.fixture
async def fleet() -> AsyncIterator[FakeFleet]:
    """Workers."""
    fleet = FakeFleet(Ledger.create(1))
    yield fleet
    fleet.ledger.close()


@pytest.fixture
async def publisher(fleet: FakeFleet) -> AsyncIterator[Publisher]:
    """One that has started."""
    publisher = Publisher(cast(Fleet, fleet), lambda number: RoutingTable(number, ()))
    publisher.start()
    yield publisher
    await publisher.stop()


async def test_changes_gather_while_one_is_under_way(
    publisher: Publisher, fleet: FakeFleet
) -> None:
    """Ten changes make two tables, not ten."""
    fleet.open.clear()
    publisher.request()
    await asyncio.sleep(0)
    for _ in range(10):
        publisher.request()
    assert not publisher.is_settled
    fleet.open.set()
    await publisher.settle()
    assert [table.number for table in fleet.tables] == [2, 3]
    assert publisher.acknowledged == 3
    assert publisher.is_settled


async def test_settling_waits_for_what_was_requested_before(
    publisher: Publisher, fleet: FakeFleet
) -> None:
    """A change made while a table is under way is in the next one."""
    fleet.open.clear()
    publisher.request()
    await asyncio.sleep(0)
    publisher.request()
    settling = asyncio.ensure_future(publisher.settle())
    fleet.open.set()
    await settling
    assert fleet.tables[-1].number == 3


async def test_nothing_requested_is_settled(publisher: Publisher, fleet: FakeFleet) -> None:
    """The first table is there before this begins."""
    assert publisher.is_settled
    await publisher.settle()
    assert fleet.tables == []
    assert publisher.next_number == 2


async def test_a_failure_is_tried_again(
    publisher: Publisher, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers must get their table, whatever happened."""
    monkeypatch.setattr(module, "_RETRY", 0.0)
    publish, failures = fleet.publish, [OSError("gone"), ValueError("odd")]

    async def fail(table: RoutingTable) -> None:
        if failures:
            raise failures.pop()
        await publish(table)

    monkeypatch.setattr(fleet, "publish", fail)
    publisher.request()
    await publisher.settle()
    assert [table.number for table in fleet.tables] == [4]
