"""What the supervisor and a worker say to each other over their socket pair.

Messages are frozen values, pickled, each behind its length (4 bytes). Only the two processes of
one program hold the pair's ends, so nothing else can put a pickle there. End of file means that
the other process is gone.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass

from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.state.entrance import EntranceRoute
from bgproxy.state.table import RoutingTable

_LENGTH = struct.Struct("!I")
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class UseTable:
    """To a worker: route by this table from now on. Answered by `TableUsed`."""

    table: RoutingTable


@dataclass(frozen=True, slots=True)
class UseEntrances:
    """To a worker: what holds for connections that come from now on, by listener.

    It comes before the first table, and the `TableUsed` of a later one answers it as well.
    """

    entrances: tuple[EntranceRoute, ...]


@dataclass(frozen=True, slots=True)
class TableUsed:
    """From a worker: the table of that number is in use."""

    number: int


@dataclass(frozen=True, slots=True)
class PassQuiescentPoint:
    """To a worker: publish that you have seen the epoch. Answered by `EpochSeen`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class EpochSeen:
    """From a worker: a quiescent point was passed in this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class CloseLeftovers:
    """To a worker: close what is left on a drained environment, spread over so many seconds.

    Args:
        service_slot, color, generation: exchanges of that service and color which began in that
            generation or before.
        tunnels: tunnels if true, else requests.
    """

    service_slot: int
    color: Color
    generation: int
    tunnels: bool
    spread: float


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: accept what is queued, then no more; end when nothing is left.

    Args:
        timeout: seconds after which what is left is cut.
        quiet: seconds of silence after which a kept-alive connection is closed.
    """

    timeout: float
    quiet: float


@dataclass(frozen=True, slots=True)
class ReopenLog:
    """To a worker: the access log's file was moved away, open its path anew."""


@dataclass(frozen=True, slots=True)
class LogTrouble:
    """From a worker: the access log cannot be written; one sentence says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class TraceTrouble:
    """From a worker: spans cannot be sent; one sentence says why."""

    detail: str


@dataclass(frozen=True, slots=True)
class BackendTrouble:
    """From a worker: a backend did not take a connection.

    Args:
        detail: why, in words for the operator.
    """

    slot: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FailureSample:
    """From a worker: one failed exchange, for the explanation of a verdict. Rate-limited.

    Args:
        path: without the query, at most 200 characters.
        at: seconds since 1970.
    """

    service: str
    color: Color
    generation: int
    method: str
    path: str
    status: int
    reason: Reason
    backend: str
    request_id: str
    at: float


@dataclass(frozen=True, slots=True)
class FindRequest:
    """To a worker: what do you remember of this request? Answered by `RequestFound`."""

    number: int
    request_id: str


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """A request that has ended.

    Args:
        service, color, backend: empty where none was chosen, and the generation is 0 then.
        path: without the query.
        outcome: ``ok``, a `Reason`'s label, or the word of a refusal.
        at: seconds since 1970.
    """

    service: str
    color: str
    backend: str
    generation: int
    method: str
    path: str
    status: int
    outcome: str
    at: float
    seconds: float
    worker: int


@dataclass(frozen=True, slots=True)
class RequestFound:
    """From a worker: the answer to the `FindRequest` of that number."""

    number: int
    request: FoundRequest | None


Message = (
    UseTable
    | UseEntrances
    | TableUsed
    | PassQuiescentPoint
    | EpochSeen
    | CloseLeftovers
    | Stop
    | ReopenLog
    | LogTrouble
    | TraceTrouble
    | BackendTrouble
    | FailureSample
    | FindRequest
    | RequestFound
)


def pack(message: Message) -> bytes:
    """A message as it goes over the pair."""
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message, or None when the other side is gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > _MOST_BYTES:
            return None
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    message: Message = pickle.loads(body)
    return message
