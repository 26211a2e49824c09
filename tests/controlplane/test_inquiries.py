"""Requests by their id, shown with the deployment that they met."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bgproxy.controlplane.permit_schemas import RequestsDocument
from bgproxy.errors import Refused
from bgproxy.state.channel import FoundRequest
from tests.controlplane.harness import control_plane

FOUND = FoundRequest(
    service="default",
    color="green",
    backend="http://a:1",
    generation=2,
    method="GET",
    path="/x",
    status=502,
    outcome="connect_refused",
    at=1000.0,
    seconds=0.01,
    worker=0,
)


async def test_a_request_is_shown_with_the_deployment_it_met(tmp_path: Path) -> None:
    """Newest first, where a client gave several the same id."""
    async with control_plane(tmp_path) as (plane, _, _):
        switched = await plane.coordinator.switch("default", to=None, actor="ci")
        older = replace(FOUND, at=900.0, generation=1, color="blue")
        refused = replace(FOUND, at=800.0, generation=0, color="", backend="", service="")
        plane.fleet.requests["abc"] = [refused, older, FOUND]
        document = await plane.coordinator.inquiries.find("abc")
        RequestsDocument.model_validate(document)
        newest, before, nowhere = document["requests"]
        assert (newest["deployment"], newest["environment"]) == (switched["id"], "green")
        assert newest["at"] == "1970-01-01T00:16:40.000Z"
        assert (before["generation"], before["deployment"]) == (1, None)
        assert (nowhere["service"], nowhere["environment"], nowhere["generation"]) == (None,) * 3


async def test_one_that_nobody_remembers_is_404(tmp_path: Path) -> None:
    """And says how more can be remembered."""
    async with control_plane(tmp_path) as (plane, _, _):
        with pytest.raises(Refused, match=r"proxy\.request_ring") as refusal:
            await plane.coordinator.inquiries.find("abc")
        assert (refusal.value.status, refusal.value.kind) == (404, "unknown-request")
