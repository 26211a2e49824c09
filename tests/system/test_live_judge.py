"""Bad releases over real sockets: taken back by themselves, and nothing else ever is.

All services share one proxy and run at the same time, each with its own kind of release.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bgproxy.domain.baseline import Baseline
from bgproxy.domain.model import RollbackPolicy
from bgproxy.domain.rollback import Judge
from tests.dataplane.harness import PATIENCE, Backend, Handler, read_head
from tests.system.harness import Product

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"
MISSING = b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"

POLICY = RollbackPolicy()
RESPONSE_TIMEOUT = 1.0
MARGIN = 2.0

Answer = Callable[[int], bytes | None]
"""From the how-manieth request to its answer; None for none."""


def application(answer: Answer, delay: float = 0.0) -> Handler:
    """Health checks pass; everything else is numbered and answered so."""
    seen = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while True:
            if b" /healthz " in await read_head(reader):
                writer.write(OK)
                continue
            seen += 1
            if (given := answer(seen)) is None:
                await asyncio.sleep(PATIENCE)
                return
            await asyncio.sleep(delay)
            writer.write(given)

    return handle


class Traffic:
    """Requests that leave at a steady rate, whatever becomes of those before."""

    def __init__(self, product: Product, host: str, rate: float, patience: float = PATIENCE):
        self.statuses: Counter[bytes] = Counter()
        self.lost: list[str] = []
        self._product = product
        self._host = host.encode()
        self._patience = patience
        self._requests: set[asyncio.Task[None]] = set()
        self._pace = asyncio.ensure_future(self._send(1 / rate))

    async def _send(self, interval: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            task = asyncio.ensure_future(self._request())
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            due = max(due + interval, loop.time() - 0.2)
            await asyncio.sleep(due - loop.time())

    async def _request(self) -> None:
        try:
            reader, writer = await self._product.connect()
            writer.write(b"GET /x HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % self._host)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    answer = await reader.read(-1)
                    self.statuses[answer[9:12]] += 1
                    if not answer.endswith((b"ok", b"no", b"}", b"\n")):
                        self.lost.append(repr(answer))
            writer.transport.abort()
        except OSError as error:
            self.lost.append(repr(error))

    async def stop(self) -> None:
        """No more requests; those under way come to their end."""
        self._pace.cancel()
        await asyncio.gather(*self._requests)


class Site:
    """One service, its two backends and its traffic."""

    def __init__(self, name: str, rate: float, share: float, slack: float = 0.0) -> None:
        self.name = name
        self.rate = rate
        self.share = share
        self.slack = slack
        self.patience = PATIENCE
        self.product: Product
        self.traffic: Traffic
        self.blue: Backend
        self.green: Backend
        self.blue_answer: Answer = lambda _: OK

    async def start(self, green: Answer, blue: Answer = lambda _: OK, delay: float = 0.0) -> Site:
        """Start the backends."""
        self.blue_answer = blue
        # Looked up each time, as a test gives it another one.
        self.blue = await Backend(application(lambda number: self.blue_answer(number))).start()  # noqa: PLW0108
        self.green = await Backend(application(green, delay)).start()
        return self

    @property
    def service(self) -> dict[str, Any]:
        """Its part of the configuration."""
        return {
            "hosts": [self.name],
            "environments": {
                "blue": {"backends": [f"http://127.0.0.1:{self.blue.port}"]},
                "green": {"backends": [f"http://127.0.0.1:{self.green.port}"]},
            },
            "health": {"path": "/healthz", "interval": "1s", "healthy_after": 1},
            "timeouts": {"response": f"{RESPONSE_TIMEOUT:g}s"},
        }

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A call of the admin API about this service."""
        status, document = await self.product.call(method, f"/v1/services/{self.name}{path}", body)
        assert status == 200, document
        return document

    async def switch(self, product: Product) -> None:
        """Let traffic flow, then switch to green."""
        self.product = product
        self.traffic = Traffic(product, self.name, self.rate, self.patience)
        await asyncio.sleep(0.5)
        self.switched = await self.call("POST", "/switch", {"verify": False, "to": "green"})

    async def taken_back(self) -> dict[str, Any]:
        """Wait for the rollback, and hold it against what the rule says it takes."""
        async with asyncio.timeout(PATIENCE + 20):
            while True:
                last = (await self.call("GET", "/history?limit=1"))["deployments"][0]
                if last["kind"] == "auto_rollback":
                    break
                await asyncio.sleep(0.1)
        self.statuses_before = Counter(self.traffic.statuses)
        path = f"/deployments/{self.switched['id']}"
        bake: dict[str, Any] = (await self.call("GET", path))["explanation"]["bake"]
        usual = {k: v for k, v in bake["baseline"].items() if k in Baseline.__dataclass_fields__}
        rate = bake["requests"] / (bake["seconds"] - POLICY.grace)
        estimate = Judge(POLICY, Baseline(**usual)).seconds_to_find(self.share, rate)
        assert estimate is not None
        taken = _time(last["applied_at"]) - _time(self.switched["applied_at"])
        assert taken <= estimate + self.slack + MARGIN, (self.name, taken, estimate, bake)
        return bake


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def sites_by_kind() -> tuple[dict[str, Site], dict[str, Site]]:
    """Releases that do harm, and those that only look like it."""
    bad = {
        "all-500": await Site("all-500", 20, 1.0).start(lambda _: BAD),
        "some-500": await Site("some-500", 50, 0.1).start(lambda n: OK if n % 10 else BAD),
        "refused": await Site("refused", 20, 1.0).start(lambda _: OK),
        # A request that hangs has failed when its time is over, and not before.
        "hangs": await Site("hangs", 20, 1.0, slack=RESPONSE_TIMEOUT).start(lambda _: None),
    }
    few: Answer = lambda n: OK if n % 100 else BAD  # noqa: E731
    good = {
        "few-500": await Site("few-500", 50, 0).start(few, few),
        "many-404": await Site("many-404", 20, 0).start(lambda n: OK if n % 5 else MISSING),
        "aborts": await Site("aborts", 20, 0).start(lambda _: OK, delay=0.5),
    }
    good["aborts"].patience = 0.1
    return bad, good


async def each(sites: dict[str, Site], do: Callable[[Site], Awaitable[Any]]) -> list[Any]:
    """The same for all of them, at once."""
    return await asyncio.gather(*(do(site) for site in sites.values()))


@contextlib.asynccontextmanager
async def running_sites(folder: Path, services: dict[str, Any]) -> AsyncIterator[Product]:
    """The proxy runs, and all environments are healthy."""
    product = Product(folder, {"proxy": {"workers": 2}, "services": services})
    try:
        await product.start()
        async with asyncio.timeout(PATIENCE):
            while not await _are_healthy(product):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        yield product
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(product.process.pid, signal.SIGKILL)
        await product.process.wait()


async def _are_healthy(product: Product) -> bool:
    _, found = await product.call("GET", "/v1/services")
    sides = [side for one in found["services"] for side in one["environments"].values()]
    return all(backend["healthy"] for side in sides for backend in side["backends"])


async def test_bad_releases_are_taken_back_and_no_other(tmp_path: Path) -> None:
    """Back within the rule's delay and two seconds, no request is lost, and nothing flips again.

    All fail, some fail, connections are refused, answers never come. One failure in a hundred on
    both sides, missing pages and clients that leave take nothing back.
    """
    bad, good = await sites_by_kind()
    services = {site.name: site.service for site in (bad | good).values()}
    async with running_sites(tmp_path, services) as product:
        await each(bad | good, lambda site: site.switch(product))
        await bad["refused"].green.stop()
        explained = dict(zip(bad, await each(bad, Site.taken_back), strict=True))
        assert set(explained["all-500"]["reasons"]) == {"server_error"}
        assert set(explained["refused"]["reasons"]) <= {"connect_refused", "reset"}
        assert set(explained["hangs"]["reasons"]) == {"response_timeout"}

        # The old environment fails as well now: nothing is watched any more, nothing moves.
        bad["all-500"].blue_answer = lambda _: BAD
        await asyncio.sleep(3.0)
        await each(bad | good, lambda site: site.traffic.stop())
        for site in bad.values():
            service = await site.call("GET", "")
            assert (site.name, service["active"], service["generation"]) == (site.name, "blue", 3)
            assert (site.name, site.traffic.lost) == (site.name, [])
        for site in good.values():
            service = await site.call("GET", "")
            assert (site.name, service["active"], service["generation"]) == (
                site.name,
                "green",
                2,
            )
        for name in ("some-500", "refused"):
            after = bad[name].traffic.statuses - bad[name].statuses_before
            assert set(after) == {b"200"}, (name, after)
