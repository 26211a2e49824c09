"""What `/metrics` shows of a ledger that the test has written itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.domain.preview import Preview
from bgproxy.state import ledger as cells
from bgproxy.state.ledger import (
    DURATION_BOUNDS,
    backend_base,
    preview_base,
    series_base,
    slab_base,
)
from tests.admin_double import Admin

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with Admin() as running:
        yield running


async def _scrape(admin: Admin) -> Samples:
    body, content_type = await admin.metrics.render("text/plain")
    assert content_type.startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def _value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


BLUE = {"service": "default", "environment": "blue"}
GREEN = {"service": "default", "environment": "green"}


async def test_exchanges_of_all_workers_are_added_up(admin: Admin) -> None:
    """By status, by reason and by duration."""
    for worker, count in ((0, 3), (1, 4)):
        base = series_base(worker, 0, Color.BLUE)
        admin.ledger.cells[base + cells.CODES + 200 - cells.FIRST_CODE] += count
        admin.ledger.cells[base + cells.CODES + 502 - cells.FIRST_CODE] += 1
        admin.ledger.cells[base + cells.REASONS + Reason.CONNECT_REFUSED] += 1
        admin.ledger.cells[base + cells.REASONS + Reason.CLIENT_ABORT] += 2
        admin.ledger.cells[base + cells.DURATIONS] += count
        admin.ledger.cells[base + cells.DURATIONS + 2] += 1
        admin.ledger.cells[base + cells.DURATION_SUM] += 1_500_000
        admin.ledger.cells[base + cells.RETRIES] += 1
    samples = await _scrape(admin)
    assert _value(samples, "bgproxy_requests_total", **BLUE, code="200") == 7
    assert _value(samples, "bgproxy_requests_total", **BLUE, code="502") == 2
    refused = {"reason": "connect_refused"}
    assert _value(samples, "bgproxy_upstream_errors_total", **BLUE, **refused) == 2
    assert _value(samples, "bgproxy_upstream_errors_total", **GREEN, **refused) == 0
    aborted = {"side": "downstream", "reason": "client_abort"}
    assert _value(samples, "bgproxy_cut_requests_total", **BLUE, **aborted) == 4
    duration = "bgproxy_request_duration_seconds"
    assert _value(samples, f"{duration}_bucket", **BLUE, le=str(DURATION_BOUNDS[1])) == 7
    assert _value(samples, f"{duration}_bucket", **BLUE, le=str(DURATION_BOUNDS[2])) == 9
    assert _value(samples, f"{duration}_bucket", **BLUE, le="+Inf") == 9
    assert _value(samples, f"{duration}_count", **BLUE) == 9
    assert _value(samples, f"{duration}_sum", **BLUE) == 3.0
    assert _value(samples, "bgproxy_retries_total", **BLUE) == 2


async def test_previews_are_counted_apart(admin: Admin) -> None:
    """In a metric of their own, where a service has a preview."""
    base = preview_base(0, 0, Color.GREEN)
    admin.ledger.cells[base + cells.CODES + 200 - cells.FIRST_CODE] = 4
    assert not any(name == "bgproxy_preview_requests_total" for name, _ in await _scrape(admin))
    (service,) = admin.table.services
    shown = replace(service, preview=Preview(hosts=("green.example.com",)))
    admin.table = replace(admin.table, services=(shown,))
    samples = await _scrape(admin)
    assert _value(samples, "bgproxy_preview_requests_total", **GREEN, code="200") == 4
    assert not any(name == "bgproxy_requests_total" for name, _ in samples)


async def test_client_side_reasons_are_no_upstream_errors(admin: Admin) -> None:
    """Nobody is paged for a closed browser tab."""
    names = {
        dict(labels)["reason"]
        for name, labels in await _scrape(admin)
        if name == "bgproxy_upstream_errors_total"
    }
    assert names == {reason.label for reason in Reason if reason < Reason.CLIENT_ABORT}


async def test_counters_outlive_their_worker(admin: Admin) -> None:
    """A dead worker's counts are folded, so a counter never goes back."""
    base = series_base(0, 0, Color.BLUE)
    admin.ledger.use(1, 2)
    admin.ledger.cells[base + cells.CODES + 200 - cells.FIRST_CODE] = 5
    admin.ledger.cells[slab_base(0) + cells.ACCEPTED] = 2
    before = await _scrape(admin)
    admin.ledger.fold(0)
    after = await _scrape(admin)
    for name, labels in (("bgproxy_requests_total", {**BLUE, "code": "200"}),):
        assert _value(before, name, **labels) == _value(after, name, **labels) == 5
    assert _value(after, "bgproxy_connections_accepted_total") == 2


async def test_the_state_of_now(admin: Admin) -> None:
    """Who is active, at which generation, what is in flight, which backends are up."""
    admin.ledger.cells[backend_base(0, 0) + cells.REQUESTS_IN_FLIGHT] = 3
    admin.ledger.cells[backend_base(1, 0) + cells.TUNNELS_IN_FLIGHT] = 1
    admin.ledger.cells[slab_base(0) + cells.PID] = 4242
    samples = await _scrape(admin)
    assert _value(samples, "bgproxy_active_environment", **BLUE) == 1
    assert _value(samples, "bgproxy_active_environment", **GREEN) == 0
    for side in ("blue", "green"):
        assert _value(samples, "bgproxy_generation", service="default", environment=side) == 1
    assert _value(samples, "bgproxy_in_flight_requests", **BLUE) == 3
    assert _value(samples, "bgproxy_in_flight_tunnels", **BLUE) == 1
    assert _value(samples, "bgproxy_backend_up", **BLUE, backend="http://127.0.0.1:9001") == 1
    assert _value(samples, "bgproxy_workers") == 1
    admin.ledger.store_pointer(0, 2, Color.GREEN)
    samples = await _scrape(admin)
    assert _value(samples, "bgproxy_active_environment", **GREEN) == 1
    for side in ("blue", "green"):
        assert _value(samples, "bgproxy_generation", service="default", environment=side) == 2


async def test_openmetrics_is_given_to_who_asks(admin: Admin) -> None:
    """By the scraper's Accept field."""
    accept = "application/openmetrics-text; version=1.0.0"
    async with (
        aiohttp.ClientSession(admin.url) as http,
        http.get("/metrics", headers={"Accept": accept}) as response,
    ):
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")


async def test_the_build_is_told(admin: Admin) -> None:
    """The scanner in use is a fact that operators ask for."""
    (labels,) = [
        dict(labels) for name, labels in await _scrape(admin) if name == "bgproxy_build_info"
    ]
    assert labels["scanner"] == "plain"


async def test_what_happens_is_counted(admin: Admin) -> None:
    """Ended deployments, drains, dead workers and failing open, from their events."""
    ended = {"from": "blue", "to": "green", "kind": "switch", "outcome": "rolled_back"}
    drain = {"environment": "blue", "seconds": 0.7, "closed_requests": 2, "closed_tunnels": 0}
    for type, data in (
        ("finished", ended),
        ("auto_rollback", {"from": "blue", "to": "green"}),
        ("hold", {"environment": "green", "cause": "both_failing"}),
        ("drained", drain),
        ("worker_died", {"worker": 1}),
        ("fail_open", {"environment": "blue"}),
        ("health", {"environment": "blue"}),
    ):
        admin.events.publish(type, "default", **data)
    await asyncio.sleep(0)
    samples = await _scrape(admin)
    outcome = {"kind": "switch", "outcome": "rolled_back"}
    assert _value(samples, "bgproxy_switches_total", **GREEN, **outcome) == 1
    assert _value(samples, "bgproxy_drain_duration_seconds_sum", **BLUE) == 0.7
    assert _value(samples, "bgproxy_drain_duration_seconds_bucket", **BLUE, le="0.5") == 0
    assert _value(samples, "bgproxy_drain_duration_seconds_bucket", **BLUE, le="1.0") == 1
    assert _value(samples, "bgproxy_drain_closed_total", **BLUE, what="requests") == 2
    assert _value(samples, "bgproxy_pointer_moves_total", **GREEN, kind="auto_rollback") == 1
    assert _value(samples, "bgproxy_rollbacks_held_total", **GREEN, cause="both_failing") == 1
    assert _value(samples, "bgproxy_worker_deaths_total") == 1
    assert _value(samples, "bgproxy_fail_open_total", service="default") == 1


async def test_the_first_of_a_kind_is_an_increase(admin: Admin) -> None:
    """What alerts are written for begins with zero, before anything happened."""
    samples = await _scrape(admin)
    for side in (BLUE, GREEN):
        assert _value(samples, "bgproxy_pointer_moves_total", **side, kind="auto_rollback") == 0
        assert _value(samples, "bgproxy_rollbacks_held_total", **side, cause="both_failing") == 0
        assert _value(samples, "bgproxy_drain_closed_total", **side, what="tunnels") == 0
        inconclusive = {"kind": "switch", "outcome": "inconclusive"}
        assert _value(samples, "bgproxy_switches_total", **side, **inconclusive) == 0
    assert _value(samples, "bgproxy_fail_open_total", service="default") == 0


async def test_a_bake_is_shown_while_it_lasts(admin: Admin) -> None:
    """With the evidence, and what it takes."""
    assert not any(name.startswith("bgproxy_bake") for name, _ in await _scrape(admin))
    admin.operations.phase = "baking"
    admin.operations.bake = {
        "environment": "green",
        "seconds": 12.5,
        "of_seconds": 600.0,
        "requests": 100,
        "failures": 7,
        "evidence": 8.25,
        "evidence_needed": 20.0,
        "has_held": True,
    }
    samples = await _scrape(admin)
    assert _value(samples, "bgproxy_bake_evidence", **GREEN) == 8.25
    assert _value(samples, "bgproxy_bake_evidence_needed", **GREEN) == 20
    assert _value(samples, "bgproxy_bake_held", **GREEN) == 1
    assert _value(samples, "bgproxy_phase", service="default", phase="baking") == 1
    assert _value(samples, "bgproxy_phase", service="default", phase="steady") == 0


async def test_readiness_and_maintenance_are_told(admin: Admin) -> None:
    """As the admin API says them."""
    samples = await _scrape(admin)
    assert _value(samples, "bgproxy_ready") == 1
    assert _value(samples, "bgproxy_maintenance", service="default") == 0
    admin.operations.ready = (False, "the proxy is stopping")
    admin.operations.maintenance = {"message": "Closed."}
    samples = await _scrape(admin)
    assert _value(samples, "bgproxy_ready") == 0
    assert _value(samples, "bgproxy_maintenance", service="default") == 1


async def test_a_refused_configuration_is_told(admin: Admin) -> None:
    """Until one is taken over."""
    assert _value(await _scrape(admin), "bgproxy_config_last_reload_successful") == 1
    admin.metrics.reloads.failed()
    assert _value(await _scrape(admin), "bgproxy_config_last_reload_successful") == 0
    admin.metrics.reloads.succeeded()
    assert _value(await _scrape(admin), "bgproxy_config_last_reload_successful") == 1
