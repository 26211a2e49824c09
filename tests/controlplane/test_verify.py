"""Verification: every expectation, every failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from bgproxy.controlplane.exchange import Answer
from bgproxy.controlplane.verify import what_is_wrong
from bgproxy.domain.model import Color, Expectation, HttpCheck, VerifyPolicy
from tests.controlplane.harness import FakeBackend, control_plane


def answer(body: bytes = b"hello", status: int = 200, seconds: float = 0.1) -> Answer:
    headers = CIMultiDict({"Content-Type": "text/html; charset=utf-8"})
    return Answer(status, "", headers, body, seconds)


JSON = b'{"status": "up", "count": 3, "ok": true, "list": [{"name": "x"}], "none": null}'


@pytest.mark.parametrize(
    ("expect", "given", "faults"),
    [
        ({}, answer(), []),
        ({}, answer(status=500), ["the status is 500 Internal Server Error"]),
        ({"status": ((404, 404),)}, answer(status=404), []),
        ({"headers": (("content-type", "^text/html"),)}, answer(), []),
        ({"headers": (("content-type", "json"),)}, answer(), ["does not match 'json'"]),
        ({"headers": (("x-none", "."),)}, answer(), ["there is no x-none"]),
        ({"body": "ell"}, answer(), []),
        ({"body": "bye"}, answer(), ["the body lacks 'bye'"]),
        ({"body_regex": "^h.*o$"}, answer(), []),
        ({"body_regex": "^o"}, answer(), ["the body does not match '^o'"]),
        ({"max_latency": 0.2}, answer(), []),
        ({"max_latency": 0.05}, answer(), ["it took 0.100 s, more than 0.05 s"]),
        ({"json": (("status", "up"), ("count", 3), ("ok", True))}, answer(JSON), []),
        ({"json": (("list.0.name", "x"), ("none", None))}, answer(JSON), []),
        ({"json": (("$.status", "up"),)}, answer(JSON), []),
        ({"json": (("ok", 1),)}, answer(JSON), ["ok is true, not 1"]),
        ({"json": (("status", "down"),)}, answer(JSON), ['status is "up", not "down"']),
        ({"json": (("list.1.name", "x"),)}, answer(JSON), ["there is no list.1.name"]),
        ({"json": (("status.x", "x"),)}, answer(JSON), ["there is no status.x"]),
        ({"json": (("a", 1),)}, answer(), ["the body is not JSON"]),
        ({"json": (("a", 1),)}, answer(b"[" * 60_000), ["the body is not JSON"]),
        ({"body": "a", "status": ((201, 201),)}, answer(), ["the status is", "the body lacks"]),
    ],
)
def test_expectations(expect: dict[str, Any], given: Answer, faults: list[str]) -> None:
    """All that is wrong is said, not only the first."""
    found = what_is_wrong(given, Expectation(**expect))
    assert len(found) == len(faults)
    for fault, part in zip(found, faults, strict=True):
        assert part in fault


async def test_every_check_runs_against_every_backend(tmp_path: Path) -> None:
    """With repeats, allowed failures, and a report of each."""
    checks = VerifyPolicy(
        (
            HttpCheck("strict", "/a", repeats=3),
            HttpCheck("lenient", "/b", repeats=3, allowed_failures=3, body="x", method="POST"),
        )
    )
    second = FakeBackend()
    await second.start()
    async with control_plane(tmp_path, verify=checks) as (plane, _, green):
        await plane.coordinator.set_backends(
            "default", Color.GREEN, [green.url, second.url], release=None, actor="a"
        )
        await second.stop()
        report = await plane.coordinator.verify("default", Color.GREEN, "ann")
        results = {(c["name"], c["backend"]): c for c in report["checks"]}
        assert len(results) == 6
        assert results["strict", green.url]["passed"] is True
        assert results["strict", green.url]["attempts"] == 3
        assert results["strict", second.url]["failures"] == ["connection refused"] * 3
        assert results["strict", second.url]["passed"] is False
        assert results["lenient", second.url]["passed"] is True
        assert report["passed"] is False
        assert sum(line.startswith("POST /b") for line, _ in green.requests) == 3
