"""Backends of a test end with it, whatever became of the proxy before them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.dataplane.harness import stop_backends


@pytest.fixture(autouse=True)
async def _backends() -> AsyncIterator[None]:
    yield
    await stop_backends()
