"""Why a request ended as it did: asked of the whole product, by its command line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.dataplane.harness import PATIENCE
from tests.system.harness import Product, running, service_of
from tests.system.test_promises import two


async def send(product: Product, target: str, request_id: str) -> bytes:
    """A GET with an id of the client's, which is kept."""
    reader, writer = await product.connect()
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {request_id}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read(-1)
    writer.close()
    return answer


async def asked(product: Product, request_id: str) -> list[dict[str, Any]]:
    """What is remembered; nothing where that is refused."""
    status, document = await product.call("GET", f"/v1/requests/{request_id}")
    assert status == 200 or document["type"].endswith("unknown-request")
    requests: list[dict[str, Any]] = document.get("requests", [])
    return requests


async def test_failures_are_remembered_and_others_where_asked_for(tmp_path: Path) -> None:
    """With the side, the backend, the generation and its deployment, and why."""
    blue, green = await two()
    config = service_of(blue, green)
    async with running(tmp_path, config) as product:
        await send(product, "/load", "fine-1")
        assert await asked(product, "fine-1") == []
        product.config["proxy"]["request_ring"] = 16
        product.reload()
        await product.until_logged("configuration read again")
        switched = await product.switch(to="green")
        assert b" 200 " in await send(product, "/load", "fine-2")
        (fine,) = await asked(product, "fine-2")
        assert (fine["environment"], fine["generation"]) == ("green", 2)
        assert (fine["deployment"], fine["path"]) == (switched["id"], "/load")
        assert (fine["status"], fine["outcome"]) == (200, "ok")
        await green.stop()
        await send(product, "/", "gone-1")
        (gone,) = await asked(product, "gone-1")
        assert gone["status"] in (502, 503)
        assert gone["outcome"] != "ok"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bgproxy", "why", "fine-2", "--json"),
            *("--admin", f"http://127.0.0.1:{product.admin_port}"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE * 2):
            said, _ = await process.communicate()
        assert json.loads(said)["requests"] == [fine]
