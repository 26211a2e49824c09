"""What all tests share: uvloop, as in the product, and an end to tests that hang."""

from __future__ import annotations

import faulthandler
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop
from _pytest.faulthandler import fault_handler_stderr_fd_key

from bgproxy import compiled

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent

TEARDOWN_TIMEOUT = 60.0
"""Seconds that what follows a test may take."""


@pytest.fixture(scope="session", autouse=True)
def _runtime_directory() -> Iterator[None]:
    """Admin sockets of the proxies that tests start, in a place of their own."""
    with tempfile.TemporaryDirectory(prefix="bgproxy-run-") as folder:
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = folder
        yield
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to test what was compiled from an older source."""
    kinds = (
        *((name, "py") for name in compiled.MODULES),
        *((n, "pyx") for n in compiled.EXTENSIONS),
    )
    for name, kind in kinds:
        source = ROOT / f"{name.replace('.', '/')}.{kind}"
        for built in source.parent.glob(f"{source.stem}.cpython-*"):
            if built.stat().st_mtime < source.stat().st_mtime:
                pytest.exit(f"{built.name} is older than {source}: run `make check`", 2)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops that an asynchronous test runs on: uvloop alone."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """End the process, with the stacks of all threads, when a teardown hangs.

    pytest-timeout lets go of a test once it has failed, for the sake of debuggers; but a task that
    does not take its cancellation then keeps the loop from closing for ever.
    """
    file = item.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(TEARDOWN_TIMEOUT, exit=True, file=file)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
