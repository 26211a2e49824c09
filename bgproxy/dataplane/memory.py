"""What one worker remembers of requests, for whoever asks why one ended as it did.

Those that failed or were refused are always kept: they leave the common path anyway. The others
are kept only where a ring was asked for, as each costs some of its request's time.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from bgproxy.domain.outcome import Reason
from bgproxy.protocol.forwarding import kept_request_id
from bgproxy.state.channel import FindRequest, FoundRequest, RequestFound

if TYPE_CHECKING:
    from bgproxy.dataplane.connection import ClientConnection
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.routes import BackendState, EnvironmentState, Route
    from bgproxy.dataplane.worker import Worker

    _Raw = tuple[
        int,
        dict[bytes, bytes] | None,
        Route,
        EnvironmentState,
        BackendState,
        int,
        bytes,
        bytes,
        int,
        float,
        float,
    ]

_MOST_FAILURES = 1024
_MOST_PATH = 200


class _Note(NamedTuple):
    """A request as it is kept: places by reference, the rest as it was.

    Args:
        own_id: that the client gave; None where it is ours, made of `number`.
        started: monotonic.
    """

    number: int
    own_id: bytes | None
    service: str
    color: str
    backend: str
    generation: int
    method: bytes
    target: bytes
    status: int
    outcome: str
    started: float
    seconds: float


def _note_of(raw: _Raw) -> _Note:
    """The note that a request in the ring would have been."""
    number, extras, route, environment, backend, generation = raw[:6]
    method, target, status, started, ended = raw[6:]
    return _Note(
        number,
        kept_request_id(extras),
        route.name,
        environment.color.value,
        backend.url,
        generation,
        method,
        target[:_MOST_PATH],
        status,
        "ok",
        started,
        ended - started,
    )


class RequestMemory:
    """The last requests; an observer of those that ended well while it has a ring.

    Args:
        worker: whose requests they are.
    """

    __slots__ = ("_failed", "_recent", "_worker")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._failed: deque[_Note] = deque(maxlen=_MOST_FAILURES)
        self._recent: deque[_Raw] = deque(maxlen=0)

    def keep(self, ring: int) -> RequestMemory | None:
        """Keep so many of those that end well; returns itself if there are any to be told of."""
        if ring != self._recent.maxlen:
            self._recent = deque(self._recent, maxlen=ring)
        return self if ring else None

    # -- what is kept in any case -----------------------------------------------------------------

    def failed(self, client: Exchange, status: int, reason: Reason) -> None:
        """A claimed exchange has not simply succeeded."""
        self._failed.append(
            self._note(
                client,
                client.environment.color.value,
                client.backend.url,
                client.generation,
                status,
                reason.label,
            )
        )

    def waited_in_vain(self, client: Exchange, status: int, outcome: str) -> None:
        """A request found no room in its environment."""
        color = client.environment.color.value
        self._failed.append(self._note(client, color, "", 0, status, outcome))

    def was_refused(self, client: Exchange, status: int, outcome: str, route: Route | None) -> None:
        """A request was answered that no environment saw."""
        if client.method:  # else it could not be read, and has no id
            name = "" if route is None else route.name
            self._failed.append(self._note(client, "", "", 0, status, outcome, name))

    def _note(
        self,
        client: Exchange,
        color: str,
        backend: str,
        generation: int,
        status: int,
        outcome: str,
        service: str | None = None,
    ) -> _Note:
        head = client.head
        return _Note(
            client.number,
            kept_request_id(head.extras),
            client.route.name if service is None else service,
            color,
            backend,
            generation,
            client.method,
            head.target[:_MOST_PATH],
            status,
            outcome,
            client.started,
            monotonic() - client.started,
        )

    # -- an observer of the rest ------------------------------------------------------------------

    def exchange(self, client: Exchange, status: int, reason: Reason | None) -> None:
        """A claimed exchange has ended."""
        if reason is None:  # nothing is made of it yet: most are never asked for
            head = client.head
            self._recent.append(
                (
                    client.number,
                    head.extras,
                    client.route,
                    client.environment,
                    client.backend,
                    client.generation,
                    head.method,
                    head.target,
                    status,
                    client.started,
                    monotonic(),
                )
            )

    def ended(
        self, client: Exchange, status: int, reason: Reason | None, bytes_in: int, bytes_out: int
    ) -> None:
        """A tunnel has ended."""
        self.exchange(client, status, reason)

    def unclaimed(self, client: Exchange, status: int, outcome: str) -> None:
        """Kept already."""

    def refused(
        self, client: Exchange, status: int, outcome: str, route: Route | None = None
    ) -> None:
        """Kept already."""

    def turned_away(self, client: ClientConnection, status: int, outcome: str) -> None:
        """It has no id."""

    # -- asked ------------------------------------------------------------------------------------

    def answer(self, question: FindRequest) -> RequestFound:
        """What is known of a request; the last one where a client gave one id to several."""
        wanted = question.request_id.encode("latin-1", "replace")
        number = self._number_of(wanted)
        for note in chain(reversed(self._failed), map(_note_of, reversed(self._recent))):
            is_it = note.own_id == wanted if note.own_id else note.number == number
            if is_it:
                return RequestFound(question.number, self._shown(note))
        return RequestFound(question.number, None)

    def _number_of(self, wanted: bytes) -> int:
        """The number that an id of this worker's stands for; 0 for none."""
        prefix = self._worker.request_prefix
        if not wanted.startswith(prefix):
            return 0
        try:
            return int(wanted[len(prefix) :], 16)
        except ValueError:
            return 0

    def _shown(self, note: _Note) -> FoundRequest:
        return FoundRequest(
            service=note.service,
            color=note.color,
            backend=note.backend,
            generation=note.generation,
            method=note.method.decode("latin-1"),
            path=note.target.partition(b"?")[0].decode("latin-1"),
            status=note.status,
            outcome=note.outcome,
            at=note.started + self._worker.epoch_offset,
            seconds=note.seconds,
            worker=self._worker.index,
        )
