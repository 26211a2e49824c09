"""Processes that follow their environment, beside a real proxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.dataplane.harness import PATIENCE
from tests.system.harness import Product, running, service_of
from tests.system.test_promises import two

CHILD = """
import os, signal, sys, time
def end(number, frame):
    print("ended", os.environ["BGPROXY_GENERATION"], flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, lambda *_: print("usr1", flush=True))
facts = [os.environ["BGPROXY_" + name] for name in ("ENVIRONMENT", "GENERATION", "SERVICE")]
print("began", *facts, flush=True)
while True:
    time.sleep(60)
"""


@contextlib.asynccontextmanager
async def keeper(
    product: Product, environment: str, *options: str, child: str = CHILD
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, with the child's lines on its standard output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bgproxy", "--admin", f"http://127.0.0.1:{product.admin_port}"),
        *("run-while-active", "--environment", environment, *options, "--"),
        *(sys.executable, "-c", child),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line of the child."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode().strip()


async def test_children_of_both_sides_follow_the_pointer(tmp_path: Path) -> None:
    """Each with the generation as its token; signals and the exit status pass through."""
    async with (
        running(tmp_path, service_of(*await two())) as product,
        keeper(product, "blue") as blue,
        keeper(product, "green") as green,
    ):
        assert await line(blue) == "began blue 1 default"
        await product.switch(to="green")
        assert await line(blue) == "ended 1"
        assert await line(green) == "began green 2 default"
        await product.call("POST", "/v1/services/default/rollback", {})
        assert await line(green) == "ended 2"
        assert await line(blue) == "began blue 3 default"
        blue.send_signal(signal.SIGUSR1)
        assert await line(blue) == "usr1"
        blue.send_signal(signal.SIGTERM)
        assert await line(blue) == "ended 3"
        assert await blue.wait() == 7


async def test_the_child_outlives_the_proxys_restart_by_default(tmp_path: Path) -> None:
    """It is not started twice either."""
    async with (
        running(tmp_path, service_of(*await two())) as product,
        keeper(product, "blue", "--grace", "300ms") as blue,
    ):
        assert await line(blue) == "began blue 1 default"
        await product.kill_everything()
        await asyncio.sleep(0.5)
        await product.start()
        await product.switch(to="green")
        assert await line(blue) == "ended 1"


async def test_a_child_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    """TERM, then KILL."""
    stubborn = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(other.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    async with (
        running(tmp_path, service_of(*await two())) as product,
        keeper(product, "blue", "--stop-timeout", "200ms", child=stubborn) as blue,
    ):
        grandchild = int(await line(blue))
        blue.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await blue.wait() == 128 + signal.SIGKILL
            with contextlib.suppress(ProcessLookupError):
                while _is_alive(grandchild):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.02)


def _is_alive(pid: int) -> bool:
    os.kill(pid, 0)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_without_restart_the_childs_status_is_the_commands(tmp_path: Path) -> None:
    """For what is to run once."""
    async with (
        running(tmp_path, service_of(*await two())) as product,
        keeper(product, "blue", "--no-restart", child="raise SystemExit(3)") as blue,
    ):
        async with asyncio.timeout(PATIENCE):
            assert await blue.wait() == 3
