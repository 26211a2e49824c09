"""Telling people, by the whole product: a file, a switch, and what arrives."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.dataplane.harness import PATIENCE, Backend, read_head
from tests.system.harness import running, service_of
from tests.system.test_promises import two


async def receiver() -> tuple[Backend, asyncio.Queue[dict[str, Any]]]:
    """Somebody who is told."""
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        got.put_nowait(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()

    return await Backend(receive).start(), got


async def test_a_switch_a_lock_and_a_test_are_told(tmp_path: Path) -> None:
    """The URL is neither logged nor shown."""
    listener, got = await receiver()
    config = service_of(*await two())
    url = f"http://127.0.0.1:{listener.port}/secret-part"
    config["notifications"] = [{"kind": "json", "name": "log", "url": url}]

    async def told() -> str:
        async with asyncio.timeout(PATIENCE):
            return str((await got.get())["event"])

    async with running(tmp_path, config) as product:
        await product.switch(to="green")
        assert await told() == "switched"
        base = "/v1/services/default"
        status, _ = await product.call("POST", f"{base}/lock", {"reason": "migration"})
        assert (status, await told()) == (200, "locked")
        status, problem = await product.call("POST", f"{base}/switch", {"to": "blue"})
        assert (status, problem["reason"]) == (409, "migration")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bgproxy", "notify", "test"),
            *("--admin", f"http://127.0.0.1:{product.admin_port}"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE * 2):
            said, _ = await process.communicate()
        assert (process.returncode, said.split()) == (
            0,
            [b"log", b"json", b"sent", *b"answered 200 OK".split()],
        )
        assert await told() == "test"
        await product.kill_everything()
        await product.start()
        shown = await product.service()
        assert (shown["active"], shown["locked"]["reason"]) == ("green", "migration")
        status, _ = await product.call("POST", f"{base}/rollback", {})
        assert (status, await told()) == (200, "rolled_back")
        assert "secret-part" not in product.log.read_text()
