"""What all tests share: every asynchronous test runs on uvloop, as the product does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import pytest


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops that an asynchronous test runs on: uvloop alone."""
    return {"uvloop": uvloop.new_event_loop}
