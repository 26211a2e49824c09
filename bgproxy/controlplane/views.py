"""Services and deployments as JSON-ready documents: what the admin API answers."""

from __future__ import annotations

import time
from typing import Any

from bgproxy.controlplane.entries import BackendEntry, EnvironmentEntry, ServiceEntry
from bgproxy.controlplane.locks import lock_facts
from bgproxy.controlplane.maintenance import maintenance_facts
from bgproxy.controlplane.rollout import Rollout
from bgproxy.controlplane.times import rfc3339
from bgproxy.domain.baseline import break_even
from bgproxy.domain.deployment import Deployment, Outcome, Phase
from bgproxy.domain.model import COLORS, Backend
from bgproxy.state.changes import Audit
from bgproxy.state.ledger import Ledger


def service_view(service: ServiceEntry, ledger: Ledger) -> dict[str, Any]:
    """The SERVICE document."""
    pointer = ledger.pointer(service.word)
    settings = service.settings
    under_way = service.pending or service.watched
    return {
        "name": service.name,
        "active": str(pointer.color),
        "generation": pointer.generation,
        "phase": phase_of(service),
        "hosts": list(settings.hosts),
        "paths": list(settings.paths),
        "environments": {
            str(color): environment_view(service, service.environment(color), ledger)
            for color in COLORS
        },
        "deployment": under_way and deployment_view(under_way.deployment, service, ledger),
        "drain": _drain_view(service, ledger),
        "bake": _bake_view(service.watched),
        "paused_until": _paused_until(service),
        "maintenance": maintenance_facts(service.maintenance) or None,
        "locked": lock_facts(service.lock),
    }


def phase_of(service: ServiceEntry) -> str:
    """What a service is busy with: the most urgent thing first."""
    if service.held_until > time.monotonic():
        return "paused"
    if service.pending is not None:
        return "verifying"
    if service.watched is None:
        return "steady"
    return "draining" if service.watched.phase.is_draining else "baking"


def _paused_until(service: ServiceEntry) -> str | None:
    left = service.held_until - time.monotonic()
    return rfc3339(time.time() + left) if left > 0 else None


def _drain_view(service: ServiceEntry, ledger: Ledger) -> dict[str, Any] | None:
    rollout = service.watched
    if rollout is None or not rollout.phase.is_draining:
        return None
    old = rollout.deployment.from_color
    # Asked right after the switch, the drain's own look at the gauges may be still to come.
    requests, tunnels = ledger.in_flight(service.environment(old).slots())
    progress = rollout.drain_progress
    return {
        "environment": str(old),
        "requests": requests,
        "tunnels": tunnels,
        "seconds": round(progress.seconds, 3) if progress is not None else 0.0,
        "timeout": service.settings.drain.timeout,
        "tunnel_timeout": service.settings.drain.tunnel_timeout,
    }


def _bake_view(rollout: Rollout | None) -> dict[str, Any] | None:
    if rollout is None or not rollout.phase.is_baking or rollout.bake is None:
        return None
    bake, judge = rollout.bake, rollout.bake.judge
    usual = judge.baseline.failure_share
    return {
        "environment": str(bake.color),
        "seconds": round(bake.elapsed, 1),
        "of_seconds": bake.seconds,
        "requests": judge.requests,
        "failures": judge.failures,
        "evidence": round(judge.evidence.value, 2),
        "evidence_needed": judge.evidence.needed,
        "usual": usual,
        "break_even": break_even(usual, judge.harm),
        "harm_level": judge.harm,
        "mode": str(service_mode(bake.service)),
        "has_held": bake.has_held,
        "is_slow": judge.is_slow,
        "way_back_healthy": bake.service.environment(bake.color.other).ready > 0,
    }


def service_mode(service: ServiceEntry) -> str:
    """Whether the judge acts or only watches."""
    return str(service.settings.rollback.mode)


def environment_view(
    service: ServiceEntry, environment: EnvironmentEntry, ledger: Ledger
) -> dict[str, Any]:
    """One environment: what it runs, how its backends are, what it carries and carried."""
    series = ledger.series(service.slot, environment.color)
    requests, tunnels = ledger.in_flight(environment.slots())
    return {
        "release": environment.release or None,
        "source": "file" if environment.saved.backends is None else "api",
        "backends": [
            _backend_view(backend, environment, ledger) for backend in environment.backends
        ],
        "in_flight": requests + tunnels,
        "requests_in_flight": requests,
        "tunnels_in_flight": tunnels,
        "requests_total": series.requests,
        "errors_total": series.failures,
        "locked_by": environment.saved.locked_by,
    }


def _backend_view(
    backend: Backend, environment: EnvironmentEntry, ledger: Ledger
) -> dict[str, Any]:
    """One backend as it was written, with every address that its name stands for."""
    entries = [entry for entry in environment.entries if entry.backend == backend]
    addresses = [_address_view(entry, ledger) for entry in entries]
    return {
        "url": backend.url,
        "healthy": any(address["healthy"] for address in addresses),
        "in_flight": sum(address["in_flight"] for address in addresses),
        "failures_total": sum(address["failures_total"] for address in addresses),
        "addresses": addresses,
    }


def _address_view(entry: BackendEntry, ledger: Ledger) -> dict[str, Any]:
    gauges = ledger.backend(entry.slot)
    last = entry.last
    return {
        "address": str(entry.place),
        "healthy": entry.health.is_ready,
        "proven": entry.health.is_proven,
        "in_flight": gauges.requests + gauges.tunnels,
        "failures_total": gauges.failures,
        "answered": last.detail if last else None,
        "probed_at": rfc3339(last.at) if last else None,
    }


def deployment_view(
    deployment: Deployment, service: ServiceEntry, ledger: Ledger
) -> dict[str, Any]:
    """The DEPLOYMENT document, without its explanation."""

    def shown(at: float | None) -> str | None:
        return None if at is None else rfc3339(at)

    return {
        "id": deployment.id,
        "service": deployment.service,
        "from": str(deployment.from_color),
        "to": str(deployment.to_color),
        "release": deployment.release or None,
        "generation": deployment.generation,
        "kind": str(deployment.kind),
        "reason": deployment.reason,
        "actor": deployment.actor,
        "irreversible": deployment.irreversible or None,
        "held": dict(deployment.held) if deployment.held is not None else None,
        "approved_by": deployment.approved_by or None,
        "phase": _shown_phase(deployment.phase),
        "outcome": None if deployment.outcome is None else str(deployment.outcome),
        "safe_to_stop": is_safe_to_stop(deployment, service, ledger),
        "rollback_possible_until": shown(deployment.rollback_possible_until),
        "requested_at": shown(deployment.requested_at),
        "applied_at": shown(deployment.applied_at),
        "drained_at": shown(deployment.drained_at),
        "finished_at": shown(deployment.finished_at),
    }


def _shown_phase(phase: Phase) -> str:
    if phase.is_pending:
        return "verifying"
    return "draining" if phase is Phase.SETTLING else str(phase)


def is_safe_to_stop(deployment: Deployment, service: ServiceEntry, ledger: Ledger) -> bool:
    """Whether the environment that a deployment left is needed by nobody any more.

    It is not before the drain and the bake are over, as it is the way back until then; nor once
    a later deployment has begun to use it again.
    """
    return (
        deployment.outcome in (Outcome.PASSED, Outcome.INCONCLUSIVE)
        and deployment.generation == ledger.pointer(service.word).generation
        and service.pending is None
        and service.watched is None
    )


def audit_view(row: Audit) -> dict[str, Any]:
    """One row of the audit trail."""
    return {
        "at": rfc3339(row.at),
        "service": row.service,
        "actor": row.actor,
        "origin": row.origin or None,
        "action": row.action,
        "before": dict(row.before),
        "after": dict(row.after),
    }


def diff_view(service: ServiceEntry) -> dict[str, Any]:
    """Where the configuration file and the state differ, for each environment."""
    environments = {}
    for environment in service.environments:
        file = {
            "backends": [backend.url for backend in environment.file.backends],
            "release": environment.file.release or None,
        }
        state = {
            "backends": [backend.url for backend in environment.backends],
            "release": environment.release or None,
        }
        saved = environment.saved
        environments[str(environment.color)] = {
            "differs": file != state,
            "file": file,
            "state": state,
            "changed_by": saved.changed_by,
            "changed_at": rfc3339(saved.changed_at) if saved.changed_at else None,
        }
    return {
        "service": service.name,
        "differs": any(entry["differs"] for entry in environments.values()),
        "environments": environments,
    }
