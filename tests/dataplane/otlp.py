"""A collector: takes spans by OTLP over HTTP and keeps what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from multidict import CIMultiDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.dataplane.harness import PATIENCE


class Collector:
    """What came, and how to answer from now on.

    Attributes:
        status: of every answer.
        held: none is given while this is not set.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, Any] = {}
        self.fields: CIMultiDict[str] = CIMultiDict()
        self.status = 200
        self.held = asyncio.Event()
        self.held.set()
        self.asked = asyncio.Event()
        self._changed = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        """Read one batch."""
        self.asked.set()
        body = await request.read()
        await self.held.wait()
        if self.status != 200:
            return web.Response(status=self.status)
        batch = ExportTraceServiceRequest.FromString(body)
        async with self._changed:
            self.fields = CIMultiDict(request.headers)
            for of_resource in batch.resource_spans:
                self.resource = attributes(of_resource.resource)
                for of_scope in of_resource.scope_spans:
                    self.spans += of_scope.spans
            self._changed.notify_all()
        return web.Response(content_type="application/x-protobuf")

    async def until(self, count: int) -> list[Span]:
        """Wait for so many spans, in the order of their requests."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.spans) >= count)
        return sorted(self.spans, key=lambda span: span.start_time_unix_nano)

    @property
    def endpoint(self) -> str:
        """Where it is to be reached."""
        return f"http://127.0.0.1:{self.port}/v1/traces"

    port: int


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.port = runner.addresses[0][1]
        yield collector
    finally:
        collector.held.set()
        await runner.cleanup()


def attributes(of: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}
