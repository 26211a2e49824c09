"""Hooks and verification as a configuration file asks for them, in the whole product."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from bgproxy.domain.hooks import sign
from tests.dataplane.harness import PATIENCE, Backend, read_head
from tests.system.harness import running, service_of
from tests.system.test_promises import two

SECRET = "0123456789abcdef0123456789abcdef"


async def receiver() -> tuple[Backend, asyncio.Queue[tuple[bytes, dict[str, Any]]]]:
    """A webhook's other side: heads and documents as they come."""
    got: asyncio.Queue[tuple[bytes, dict[str, Any]]] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        signature = head.partition(b"X-BGProxy-Signature: ")[2].partition(b"\r\n")[0].decode()
        at = int(signature.partition(",")[0].removeprefix("t="))
        assert signature == sign(SECRET, at, body)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        got.put_nowait((head, json.loads(body)))

    return await Backend(receive).start(), got


async def test_hooks_of_a_file_are_called_around_a_switch_and_a_rollback(tmp_path: Path) -> None:
    """Signed, each with its moment, and their secret is shown nowhere."""
    blue, green = await two()
    listener, got = await receiver()
    call = {"webhook": f"http://127.0.0.1:{listener.port}/hook", "secret": SECRET}
    moments = ("before_switch", "after_switch", "after_rollback", "on_drained")
    config = service_of(blue, green, hooks={moment: [call] for moment in moments})

    async def told(number: int) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            documents = [(await got.get())[1] for _ in range(number)]
        assert {document["service"] for document in documents} == {"default"}
        return sorted(document["moment"] for document in documents)

    async with running(tmp_path, config) as product:
        await product.switch(to="green", wait="drained")
        assert await told(3) == ["after_switch", "before_switch", "on_drained"]
        status, _ = await product.call("POST", "/v1/services/default/rollback", {})
        assert status == 200
        assert await told(2) == ["after_rollback", "on_drained"]
        _, explained = await product.call("GET", "/v1/services/default/deployments/1")
        reports = explained["explanation"]["hooks"]
        assert reports["before_switch"][0]["passed"]
        assert SECRET not in json.dumps(explained)
        assert SECRET not in product.log.read_text()


async def test_a_command_of_a_file_vetoes_until_it_says_yes(tmp_path: Path) -> None:
    """As part of the verification and before the switch; its output tells why."""
    permit = tmp_path / "permit"
    script = (
        "import os, pathlib, sys; "
        f"sys.exit(0 if pathlib.Path({str(permit)!r}).exists() "
        "else 'no permit for ' + os.environ['BGPROXY_TO'])"
    )
    call = {"name": "permit", "command": [sys.executable, "-c", script]}
    blue, green = await two()
    verify = {"calls": [call], "warm_up": {"path": "/load", "requests": 3}}
    config = service_of(blue, green, verify=verify, hooks={"before_switch": [call]})
    async with running(tmp_path, config) as product:
        for body in ({}, {"verify": False}):
            status, problem = await product.call("POST", "/v1/services/default/switch", body)
            assert status == 409, problem
            report = problem["hooks" if body else "checks"][0]
            assert (report["passed"], report["output"]) == (False, "no permit for green\n")
            assert problem["type"].endswith("checks-failed")
        permit.touch()
        await product.switch(to="green")
        assert (await product.get()).endswith(b"green")
