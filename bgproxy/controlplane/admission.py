"""Whether a switch may begin, and where to."""

from __future__ import annotations

from dataclasses import replace

from bgproxy.controlplane.entries import ServiceEntry
from bgproxy.domain.deployment import admit_switch
from bgproxy.domain.lock import check_lock
from bgproxy.domain.model import Color
from bgproxy.errors import Refused
from bgproxy.state.ledger import Ledger

_WAITS = ("held", "applied", "drained", "finished")


def admit(
    service: ServiceEntry,
    ledger: Ledger,
    to: Color | None,
    *,
    now: float,
    force: bool = False,
    expected_generation: int | None = None,
    release: str | None = None,
) -> Color:
    """The target of a switch that may begin.

    Args:
        to: None for the idle environment.
        now: Unix time.
        force: also to what was rolled back by itself; a lock stands in the way all the same.
        release: what the target runs, if it is named anew.

    Raises:
        Refused: 409; the service is locked, or see `admit_switch`.
    """
    check_lock(service.name, service.lock, now)
    standing = service.standing(ledger)
    target = to or standing.active.other
    if release is not None and service.environment(target).release != release:
        standing = replace(standing, locked={})  # it is another than what was rolled back
    return admit_switch(standing, to, force=force, expected_generation=expected_generation)


def check_wait(wait: str) -> None:
    """Let only what can be waited for pass.

    Raises:
        Refused: 422.
    """
    if wait not in _WAITS:
        raise Refused(422, "invalid", f"wait is one of {', '.join(_WAITS)}, not {wait!r}.")
