"""One proxy with a recording backend per test file: starting a worker costs more than a case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.wire.wire import Wire, wired


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_wire() -> AsyncIterator[Wire]:
    async with wired() as wire:
        yield wire


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    shared_wire.reset()
    yield shared_wire
    shared_wire.reset()
