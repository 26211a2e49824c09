"""The whole product as its users run it: `bgproxy run` with a file, traffic, and the admin API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import yaml

from tests.dataplane.harness import PATIENCE, Backend, stop_backends
from tests.ports import free_port


class Product:
    """One configuration and the proxy that runs by it; can be killed and started again."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.port = free_port()
        self.admin_port = free_port()
        self.file = folder / "bgproxy.yaml"
        self.log = folder / "log"
        config.setdefault("proxy", {}).update(listen=f"127.0.0.1:{self.port}")
        config.setdefault("admin", {}).update(listen=f"127.0.0.1:{self.admin_port}")
        config.setdefault("state", str(folder / "state.db"))
        self.config = config

    async def start(self, *, is_expected_to_run: bool = True) -> None:
        """Write the file, start the proxy, and wait until it is ready."""
        self.file.write_text(yaml.safe_dump(self.config))
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "bgproxy", "run", "-c", str(self.file)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if is_expected_to_run:
            await self.until_logged('"event": "running"')

    def reload(self) -> None:
        """Write the file anew, and HUP."""
        self.file.write_text(yaml.safe_dump(self.config))
        self.process.send_signal(signal.SIGHUP)

    async def stop(self) -> int:
        """TERM, and the exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end, and the exit status."""
        async with asyncio.timeout(PATIENCE * 2):
            return await self.process.wait()

    async def kill_everything(self) -> None:
        """Kill -9 of the supervisor and all its workers at one blow."""
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def worker_pids(self) -> list[int]:
        """The processes that carry traffic."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One call of the admin API."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=body) as answer,
        ):
            return answer.status, json.loads(await answer.text())

    async def switch(self, **body: Any) -> dict[str, Any]:
        """A switch that is not refused."""
        status, document = await self.call("POST", "/v1/services/default/switch", body)
        assert status == 200, document
        return document

    async def service(self) -> dict[str, Any]:
        """The SERVICE document."""
        _, document = await self.call("GET", "/v1/services/default")
        return document

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the SERVICE document shows something."""
        deadline = monotonic() + PATIENCE
        while not condition(document := await self.service()):
            assert monotonic() < deadline, document
            await asyncio.sleep(0.02)
        return document

    async def until_logged(self, text: str, *, times: int = 1) -> None:
        """Wait for a line of the log."""
        deadline = monotonic() + PATIENCE
        while self.log.read_text().count(text) < times:
            assert monotonic() < deadline, f"{text} is missing in\n{self.log.read_text()}"
            assert self.process.returncode is None, self.log.read_text()
            await asyncio.sleep(0.02)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client connection to the traffic port."""
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)

    async def get(self, target: bytes = b"/") -> bytes:
        """One GET on a connection of its own; the whole answer."""
        reader, writer = await self.connect()
        writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read(-1)
        writer.close()
        return answer


def service_of(blue: Backend, green: Backend, **keys: Any) -> dict[str, Any]:
    """A configuration with one service; health checks are quick."""
    health = {"path": "/healthz", "interval": "100ms", "healthy_after": 1, "unhealthy_after": 2}
    service: dict[str, Any] = {
        "environments": {
            "blue": {"backends": [f"http://127.0.0.1:{blue.port}"]},
            "green": {"backends": [f"http://127.0.0.1:{green.port}"]},
        },
        "health": health,
        **keys,
    }
    return {"proxy": {"workers": 2}, "services": {"default": service}}


@contextlib.asynccontextmanager
async def running(folder: Path, config: dict[str, Any]) -> AsyncIterator[Product]:
    """The proxy runs; both environments are healthy."""
    async with running_product(Product(folder, config)) as product:
        yield product


@contextlib.asynccontextmanager
async def running_product(product: Product) -> AsyncIterator[Product]:
    """The same with a configuration that was changed before."""
    try:
        await product.start()
        await product.until(
            lambda s: all(b["healthy"] for e in s["environments"].values() for b in e["backends"])
        )
        yield product
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(product.process.pid, signal.SIGKILL)
        await product.process.wait()
        await stop_backends()


class Load:
    """Clients that send one request after the other on kept connections, and count.

    A client whose connection is closed between two requests opens another; a connection refused
    ends it: the listener is gone. Everything else that is no 200 is a failure.
    """

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._tasks = [asyncio.ensure_future(self._client()) for _ in range(clients)]
        self._is_over = False
        self.answers = 0
        self.failures: list[str] = []
        self.refused = 0
        self.slowest = 0.0

    async def _client(self) -> None:
        while not self._is_over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.refused += 1
                return
            try:
                await self._requests(reader, writer)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(repr(error))
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._is_over:
            began = monotonic()
            writer.write(b"GET /load HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            self.slowest = max(self.slowest, monotonic() - began)
            if not head.startswith(b"HTTP/1.1 200 "):
                self.failures.append(head.decode("latin-1"))
            self.answers += 1
            if b"connection: close" in head.lower():
                return

    async def until_answers(self, count: int) -> None:
        """Wait until that many more answers have come."""
        goal = self.answers + count
        async with asyncio.timeout(PATIENCE):
            while self.answers < goal:  # noqa: ASYNC110 - every client counts, none tells
                await asyncio.sleep(0.01)

    async def until_refused(self) -> None:
        """Wait until every client has found the listener gone."""
        async with asyncio.timeout(PATIENCE * 2):
            await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """End the load after the requests under way."""
        self._is_over = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks)
