"""Previews as their users have them: a listener, a header and a link, over switches and reloads."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from click.testing import CliRunner

from bgproxy.cli import main
from tests.dataplane.harness import PATIENCE, Backend, echoing
from tests.ports import free_port
from tests.system.harness import Product, running, service_of

SECRET = "0123456789abcdef" * 2


async def backends() -> tuple[Backend, Backend]:
    return await Backend(echoing(b"blue")).start(), await Backend(echoing(b"green")).start()


async def asked(port: int, fields: str = "", target: str = "/") -> bytes:
    """The whole answer to a GET."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Connection: close\r\n\r\n".encode()
    )
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read(-1)
    writer.close()
    return answer


async def names(product: Product, listener: int) -> tuple[str, str, str]:
    """Who answers the public, who behind the listener, who to the header."""
    answers = [
        await asked(product.port),
        await asked(listener),
        await asked(product.port, f"X-Preview: {SECRET}\r\n"),
    ]
    found = [re.search(rb"X-Backend: (\w+)", answer) for answer in answers]
    one, two, three = (match[1].decode() if match else "" for match in found)
    return one, two, three


async def test_previews_follow_the_idle_side_through_a_switch(tmp_path: Path) -> None:
    """1. Green is previewed. 2. A switch: blue is. 3. A reload takes the header away."""
    listener = free_port()
    config = service_of(
        *await backends(),
        preview={"listen": f"127.0.0.1:{listener}", "header": {"value": SECRET}},
    )
    async with running(tmp_path, config) as product:
        assert await names(product, listener) == ("blue", "green", "green")
        await product.switch(to="green", wait="drained")
        assert await names(product, listener) == ("green", "blue", "blue")
        product.config["services"]["default"]["preview"] = {"listen": f"127.0.0.1:{listener}"}
        product.reload()
        await product.until_logged("configuration read again")
        assert await names(product, listener) == ("green", "blue", "green")
        document = await product.service()
        environments = document["environments"]
        assert environments["blue"]["requests_total"] == 1
        assert environments["green"]["requests_total"] == 3
        metrics = await asked(product.admin_port, "", "/metrics")
        preview = 'bgproxy_preview_requests_total{code="200",environment="%b",service="default"} %b'
        for color, count in ((b"green", b"2.0"), (b"blue", b"3.0")):
            assert preview.encode() % (color, count) in metrics
        assert await product.stop() == 0


async def test_a_printed_link_lets_a_browser_in(tmp_path: Path) -> None:
    """The command signs with the secret that the workers know."""
    config = service_of(*await backends(), preview={"cookie": {"secret": SECRET}})
    async with running(tmp_path, config) as product:
        printed = CliRunner().invoke(main, ["preview-link", "-c", str(product.file)])
        target = printed.stdout.strip().removeprefix(f"http://127.0.0.1:{product.port}")
        answer = await asked(product.port, target=target)
        assert answer.startswith(b"HTTP/1.1 303 ")
        cookie = re.search(r"Set-Cookie: ([^;]*);", answer.decode())
        assert cookie is not None
        assert b"X-Backend: green" in await asked(product.port, f"Cookie: {cookie[1]}\r\n")
        assert b"X-Backend: blue" in await asked(product.port)


async def test_an_idle_side_that_goes_down_is_not_stood_in_for(tmp_path: Path) -> None:
    """As soon as probes say so."""
    blue, green = await backends()
    config = service_of(blue, green, preview={"header": {"value": SECRET}})
    async with running(tmp_path, config) as product:
        await green.stop()
        await product.until(lambda s: not s["environments"]["green"]["backends"][0]["healthy"])
        answer = await asked(product.port, f"X-Preview: {SECRET}\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"preview_unavailable" in answer
        assert b"X-Backend: blue" in await asked(product.port)
