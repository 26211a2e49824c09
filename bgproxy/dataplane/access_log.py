"""The access log of one worker: which requests are written, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable
from random import random
from time import monotonic
from typing import TYPE_CHECKING

from bgproxy.dataplane.log_file import LogFile
from bgproxy.dataplane.log_lines import (
    NO_HEAD,
    CombinedFormat,
    JsonFormat,
    LineFormat,
    Place,
    Result,
)
from bgproxy.domain.access_log import AccessLog, LogFormat
from bgproxy.domain.outcome import Reason
from bgproxy.protocol.forwarding import kept_request_id
from bgproxy.protocol.head import RequestHead

if TYPE_CHECKING:
    from bgproxy.dataplane.connection import ClientConnection
    from bgproxy.dataplane.exchange import Exchange
    from bgproxy.dataplane.routes import BackendState, EnvironmentState, Route
    from bgproxy.dataplane.worker import Worker

    _Where = tuple[Route, EnvironmentState, BackendState, int]
    _Note = tuple[float, float, _Where, RequestHead, int, str, int, Reason | None, int, int, str]

_FORMATS: dict[LogFormat, type[JsonFormat | CombinedFormat]] = {
    LogFormat.JSON: JsonFormat,
    LogFormat.COMBINED: CombinedFormat,
}
_OUTCOMES = {reason: reason.label.encode() for reason in Reason}
_MOST_PLACES = 1000
_BATCH = 256
"""Exchanges noted before lines are made of them; their heads are kept so long."""


class RequestLog:
    """Takes requests at their end; `tick` passes lines on to the file.

    Args:
        on_trouble: see `LogFile`.
    """

    def __init__(
        self, settings: AccessLog, worker: Worker, on_trouble: Callable[[str], None]
    ) -> None:
        self.settings = settings
        self._worker = worker
        self._pending: list[_Note] = []
        self.file = LogFile(settings.path, on_trouble)
        self._sample = settings.sample
        self._format: LineFormat = _FORMATS[settings.format](with_query=settings.query)
        self._places: dict[_Where, bytes] = {}
        self._nowhere = self._format.place(Place())

    def exchange(self, client: Exchange, status: int, reason: Reason | None) -> None:
        """A claimed exchange has ended; what did not simply succeed is written in any case."""
        if reason is None and self._sample < 1.0 and random() >= self._sample:
            return
        upstream = client.upstream
        bytes_out = upstream.relayed_bytes if upstream is not None and client.status else 0
        self.ended(client, status, reason, client.taken_bytes, bytes_out)

    def ended(
        self, client: Exchange, status: int, reason: Reason | None, bytes_in: int, bytes_out: int
    ) -> None:
        """An exchange has ended whose bytes are known.

        It is only noted here. Lines are made many at a time, which costs about half of what they
        cost between two requests, whose code they would push out of the processor's caches.
        """
        head, started = client.head, client.started
        pending = self._pending
        pending.append(
            (
                started,
                monotonic() - started,
                (client.route, client.environment, client.backend, client.generation),
                head,
                client.number,
                client.client if head.extras is None else client.origin,
                status,
                reason,
                bytes_in,
                bytes_out,
                "" if reason is None else client.detail,
            )
        )
        if len(pending) >= _BATCH:
            self._write_pending()

    def _write_pending(self) -> None:
        """Make lines of the exchanges that were noted."""
        epoch_offset, prefix = self._worker.epoch_offset, self._worker.request_prefix
        places, make, add = self._places, self._format.line, self.file.add
        for note in self._pending:
            began, seconds, where, head, number, client, status, reason, taken, given, detail = note
            place = places.get(where)
            if place is None:
                place = self._place(where)
            outcome = b"ok" if reason is None else _OUTCOMES[reason]
            add(
                make(
                    began + epoch_offset,
                    place,
                    client.encode("latin-1"),
                    head,
                    (status, outcome, seconds, taken, given),
                    kept_request_id(head.extras) or b"%b%x" % (prefix, number),
                    detail,
                )
            )
        self._pending.clear()

    def unclaimed(self, client: Exchange, status: int, outcome: str) -> None:
        """A request is over that waited in vain for its environment."""
        place = self._format.place(Place(client.route.name, client.environment.color.value))
        duration = monotonic() - client.started
        self._write(client, place, (status, outcome.encode(), duration, 0, 0))

    def refused(
        self, client: Exchange, status: int, outcome: str, route: Route | None = None
    ) -> None:
        """A request was answered that no environment saw, and perhaps no service."""
        if not client.method:
            self.turned_away(client, status, outcome)
            return
        place = self._format.place(Place(route.name)) if route else self._nowhere
        self._write(client, place, (status, outcome.encode(), 0.0, 0, 0))

    def turned_away(self, client: ClientConnection, status: int, outcome: str) -> None:
        """A connection was answered of which no request could be read."""
        worker = client.worker
        address = client.client.encode("latin-1")
        result = (status, outcome.encode(), 0.0, 0, 0)
        at = worker.now + worker.epoch_offset
        self.file.add(self._format.line(at, self._nowhere, address, NO_HEAD, result, b""))

    def tick(self) -> int:
        """Pass on what has gathered; returns how many lines were lost since the last time."""
        self._write_pending()
        file = self.file
        file.pass_on()
        dropped, file.dropped = file.dropped, 0
        return dropped

    def reopen(self) -> None:
        """The file was moved away."""
        self.file.reopen()

    def close(self) -> None:
        """Write what there is and end; see `LogFile.join`."""
        self._write_pending()
        self.file.close()

    def forget_places(self) -> None:
        """A new routing table is in use."""
        self._write_pending()
        self._places.clear()

    def _place(self, where: _Where) -> bytes:
        route, environment, backend, generation = where
        color = environment.color.value
        place = self._format.place(Place(route.name, color, generation, backend.url))
        if len(self._places) < _MOST_PLACES:
            self._places[where] = place
        return place

    def _write(self, client: Exchange, place: bytes, result: Result) -> None:
        at = client.started + client.worker.epoch_offset
        address = client.origin.encode("latin-1")
        line = self._format.line(
            at, place, address, client.head, result, client.request_id.encode("latin-1")
        )
        self.file.add(line)
