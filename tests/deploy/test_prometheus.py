"""A real Prometheus over a real proxy: the metrics are read, and the gravest alerts fire."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
import yaml

from tests.dataplane.harness import Backend, read_head
from tests.deploy.test_grafana import queries
from tests.deploy.tools import CONFIG, expect_success, find
from tests.ports import free_port
from tests.system.harness import Load, Product, running, service_of

PATIENCE = 25.0
"""Seconds for an alert to fire on a machine that does other things as well."""


class App:
    """A backend whose health is always good, as that of many a broken release is."""

    def __init__(self, status: bytes = b"200 OK") -> None:
        self.status = status

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            is_probe = b"/healthz" in await read_head(reader)
            status = b"200 OK" if is_probe else self.status
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok" % status)
            await writer.drain()


class Prometheus:
    """The server, with a copy of our rules in which nothing waits."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/v1/"
        self.folder = folder
        for name in ("rules.yml", "alerts.yml"):
            text = (CONFIG / "prometheus" / name).read_text()
            (folder / name).write_text(re.sub(r"^ +for: .*\n", "", text, flags=re.MULTILINE))
        config = yaml.safe_load((CONFIG / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Prometheus]:
        """Start, and stop at the end."""
        with (self.folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                find("prometheus"),
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
                stdout=log,
                stderr=log,
            )
        try:
            async with aiohttp.ClientSession(self.url) as self.http:
                yield self
        finally:
            process.kill()
            await process.wait()

    async def ask(self, what: str, **params: str) -> dict[str, Any]:
        """One call of its API; None of `data` before it listens."""
        async with self.http.get(what, params=params) as answer:
            document = await answer.json()
            assert document["status"] == "success", document
            data: dict[str, Any] = document["data"]
            return data

    async def until(self, what: str, is_so: Callable[[Any], bool], **params: str) -> None:
        """Ask until the answer is as wished."""
        deadline = monotonic() + PATIENCE
        seen: Any = None
        while monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError):
                seen = await self.ask(what, **params)
                if is_so(seen):
                    return
            await asyncio.sleep(0.1)
        pytest.fail(f"{what} {params} says {seen}; {(self.folder / 'log').read_text()}")

    async def until_firing(self, alert: str, service: str) -> None:
        """Wait for an alert."""

        def fires(data: Any) -> bool:
            return any(
                each["labels"]["alertname"] == alert
                and each["labels"].get("service") == service
                and each["state"] == "firing"
                for each in data["alerts"]
            )

        await self.until("alerts", fires)

    async def firing(self) -> set[str]:
        """The names of all alerts that fire."""
        return {each["labels"]["alertname"] for each in (await self.ask("alerts"))["alerts"]}


def _config(backends: dict[str, Backend], lonely: Backend) -> dict[str, Any]:
    """Service `default` is judged quickly; `shop` has the same backend on both sides."""
    rollback = {"rule": "threshold", "window": "2s", "min_requests": 10, "max_error_rate": "20%"}
    rollback |= {"bake": "5m", "grace": "0s"}
    drain = {"timeout": "500ms", "tunnel_timeout": "500ms", "spread": "0s"}
    config = service_of(backends["blue"], backends["green"], rollback=rollback, drain=drain)
    shop = service_of(lonely, lonely)["services"]["default"]
    config["services"]["shop"] = shop | {"hosts": ["shop.example.com"]}
    return config


@contextlib.asynccontextmanager
async def _watched(folder: Path) -> AsyncIterator[tuple[Product, Prometheus, Backend]]:
    """A proxy with two services and the Prometheus that scrapes it."""
    find("prometheus")
    backends = {
        "blue": await Backend(App()).start(),
        "green": await Backend(App(b"500 Internal Server Error")).start(),
    }
    lonely = await Backend(App()).start()
    (folder / "prometheus").mkdir()
    async with running(folder, _config(backends, lonely)) as product:
        prometheus = Prometheus(folder / "prometheus", product.admin_port)
        async with prometheus.running():
            up = {"query": "sum(up) == 1"}
            await prometheus.until("query", lambda data: bool(data["result"]), **up)
            yield product, prometheus, lonely


async def test_prometheus_tells_of_a_rollback_and_of_both_sides_failing(tmp_path: Path) -> None:
    """Nothing fires before.

    A release that fails is taken back, and the alert says so; the only backend of the other service
    goes, and another alert says that both its sides fail. The dashboard's queries find something.
    """
    async with _watched(tmp_path) as (product, prometheus, lonely):
        assert await prometheus.firing() == set()
        load = Load(product.port, 2)
        await load.until_answers(10)
        await product.switch(to="green")
        await prometheus.until_firing("BgproxyAutomaticRollback", "default")
        await load.stop()
        assert "BgproxyBothEnvironmentsFailing" not in await prometheus.firing()

        await lonely.stop()
        await prometheus.until_firing("BgproxyBothEnvironmentsFailing", "shop")
        await prometheus.until_firing("BgproxyNoHealthyBackend", "shop")

        found = 0
        for query in queries():
            found += bool((await prometheus.ask("query", query=query))["result"])
        assert found > 20


async def test_promtool_has_nothing_against_the_metrics(tmp_path: Path) -> None:
    """Names, units and help texts of everything that a proxy under traffic shows."""
    backends = {
        "blue": await Backend(App()).start(),
        "green": await Backend(App()).start(),
    }
    config = _config(backends, await Backend(App()).start())
    async with running(tmp_path, config) as product, aiohttp.ClientSession() as http:
        await product.get()
        await product.switch(to="green", wait="drained")
        async with http.get(f"http://127.0.0.1:{product.admin_port}/metrics") as answer:
            text = await answer.text()
    assert "bgproxy_bake_evidence{" in text
    expect_success("promtool", "check", "metrics", input=text)
