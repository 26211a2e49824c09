"""Requests that are not claimed yet: held by a pause, or queued because every backend is full.

Both are first come, first served, bounded in number and in time; a request that waited in vain
is answered 503 with ``Retry-After``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from bgproxy.dataplane import failing
from bgproxy.dataplane.connection import WAITING
from bgproxy.domain.outcome import Reason

if TYPE_CHECKING:
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.routes import EnvironmentState, Route
    from bgproxy.dataplane.worker import Worker


def hold(client: Exchange) -> None:
    """Hold a request while its service is paused."""
    route = client.route
    client.environment = _active(client)
    if len(route.held) >= route.limits.max_held:
        failing.refuse_waiting(client, Reason.PAUSED, "the service is paused and holds all it may")
        return
    client.phase = WAITING
    client.deadline = inf
    route.held.append(client)


def go_on(route: Route) -> None:
    """The pause is over: claim for all that were held, in the order in which they came."""
    held = list(route.held)
    route.held.clear()
    for client in held:
        client.claim()


def go_through(route: Route) -> None:
    """The table has changed: claim for all that are queued; who finds no room keeps its place."""
    queued = list(route.queue)
    route.queue.clear()
    for client in queued:
        client.claim()


def queue(client: Exchange) -> None:
    """Queue a request for which no backend has room."""
    route = client.route
    if not client.environment.backends:
        failing.refuse_waiting(client, Reason.NO_BACKEND, "the active environment has no backend")
    elif len(route.queue) >= route.limits.max_queued:
        failing.refuse_waiting(client, Reason.OVERLOADED, "all backends and the queue are full")
    else:
        deadline = client.worker.now + route.limits.queue_timeout
        # Who waits already, and finds no room again, does not begin anew.
        client.deadline = min(client.deadline, deadline) if client.phase == WAITING else deadline
        client.phase = WAITING
        route.queue.append(client)


def admit(route: Route, worker: Worker) -> None:
    """A backend has room again: claim for the first in the queue.

    On the loop's next turn: the exchange that made room is still being ended by its caller.
    """
    worker.loop.call_soon(_admit, route)


def _admit(route: Route) -> None:
    if route.queue and not route.held_until:
        route.queue.popleft().claim()


def expire(client: Exchange) -> None:
    """A queued request has waited long enough."""
    leave(client)
    failing.refuse_waiting(client, Reason.OVERLOADED, "no backend had room in time")


def leave(client: Exchange) -> None:
    """Take a request out of whatever it waits in."""
    for line in (client.route.held, client.route.queue):
        if client in line:
            line.remove(client)


def _active(client: Exchange) -> EnvironmentState:
    word = client.worker.cells[client.route.word]
    return client.route.environments[(word & 0xFF) - 1]
