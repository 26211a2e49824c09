"""Entries: whose word holds for an environment, and what probes make of a backend."""

from __future__ import annotations

from dataclasses import replace

from bgproxy.controlplane.entries import BackendEntry, fingerprint, reconcile
from bgproxy.controlplane.exchange import Place, ProbeResult
from bgproxy.domain.health import Health
from bgproxy.domain.model import Backend, Color, Environment, HealthPolicy, Service

BLUE = Color.BLUE


def make(*blue: str) -> Service:
    backends = tuple(Backend.parse(url) for url in blue)
    return Service("s", (Environment(backends), Environment((Backend.parse("unix:/g"),))))


def test_the_state_rules_until_the_file_changes() -> None:
    """A fingerprint of the file's value decides."""
    service = make("http://a:1")
    first, is_new = reconcile(service, BLUE, None, 100.0)
    assert is_new
    assert (first.backends, first.changed_at) == (None, 0.0)
    assert reconcile(service, BLUE, first, 100.0) == (first, False)
    set_by_api = replace(first, backends=("http://b:2",), release="v2", changed_by="ann")
    assert reconcile(service, BLUE, set_by_api, 100.0) == (set_by_api, False)
    after, is_new = reconcile(make("http://c:3"), BLUE, set_by_api, 100.0)
    assert is_new
    assert (after.backends, after.release, after.changed_at) == (None, "", 100.0)


def test_fingerprints_follow_the_value() -> None:
    """Backends, their order, and the release."""
    backends = (Backend.parse("http://a:1"), Backend.parse("http://b:1"))
    texts = {
        fingerprint(Environment(backends)),
        fingerprint(Environment(backends[::-1])),
        fingerprint(Environment(backends, "v1")),
        fingerprint(Environment(backends[:1])),
    }
    assert len(texts) == 4
    assert fingerprint(Environment(backends)) == fingerprint(Environment(tuple(backends)))


def test_a_backend_tells_what_is_news() -> None:
    """A flip is, and a first verdict that is not ready; one more of the same is not."""
    policy = HealthPolicy(healthy_after=1, unhealthy_after=2)
    entry = BackendEntry(Backend.parse("http://a:1"), Place("http", "10.0.0.1", 1), 0)
    results = [False, False, False, True, True, False, False]
    news = [entry.take(ProbeResult(r, "x", 100.0 + n), policy) for n, r in enumerate(results)]
    assert news == [False, True, False, True, False, False, True]
    assert entry.unhealthy_at == 106.0
    entry.forget()
    assert entry.health == Health()
    assert entry.last is None
