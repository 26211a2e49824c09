"""A service in maintenance: everybody but a few is told so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgproxy.dataplane import failing

if TYPE_CHECKING:
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.domain.maintenance import Gate

_COME_BACK_SECONDS = 60


def turn_away(client: Exchange, gate: Gate) -> bool:
    """Refuse a request unless the gate lets it in; returns whether it was refused."""
    if gate.lets_in(client.origin, client.head.target):
        return False
    closure = client.route.closure
    assert closure is not None
    failing.refuse(
        client,
        503,
        "maintenance",
        closure.message,
        route=client.route,
        retry_after=_COME_BACK_SECONDS,
    )
    return True
