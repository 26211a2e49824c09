"""Shared memory between the supervisor and its workers: active pointers and counters.

Layout, in cells of 8 bytes (`memoryview.cast("Q")` over an anonymous memfd, so that an aligned
load or store is one machine instruction and nothing is left behind after a crash)::

    header   epoch, salt (written by the supervisor alone)
    words    one active pointer per cache line   (written by the supervisor alone)
    slabs    one per worker and a last one, the retired slab; each has one writer:
             head, then for each series codes, reasons, durations and
             what is counted apart, then for each backend its gauges, then for each
             series its previews, a series like it, and failures and visits by client

**The pointer.** A word packs generation and color; zero is never valid. `store_pointer` is the
whole of a switch: one store that every worker sees with its next request. (`struct.pack_into`
must never be used here: it zeroes the field first, which readers can see.)

**Claims and drain.** A worker claims in one uninterrupted step: read the pointer, pick a backend
of that color, add one to that backend's gauge. Between processes such a step can have read the old
pointer and not shown its count yet, so a gauge of zero proves nothing by itself. Therefore the
supervisor, after the store, raises `epoch`; each worker copies the epoch into its own `SEEN` cell
between two callbacks of its loop, where no claim is half done. Once every live worker has seen the
epoch no further claim on the old color can appear, and every earlier one is visible (x86 keeps
loads in order and stores in order; elsewhere read the gauges once more one tick later). From
then on, old gauges of zero mean drained. This is read-copy-update with the tick as its quiescent
point.

**Counters** have one writer each, so plain adds are enough. A dead worker's slab is added to the
retired slab and cleared before its successor starts: totals never go back. Failures are counted
by client as well, in slots that a salted hash of the address chooses, and so is one request of
each tick, a visit, from which follows who the clients are. Memory that is never written to costs
nothing.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from bgproxy.domain.arrival import HandshakeFault, ProxyHeaderFault
from bgproxy.domain.clients import CLIENT_SLOTS
from bgproxy.domain.model import Color
from bgproxy.domain.outcome import REASON_CELLS, Reason
from bgproxy.errors import StateError

MAX_SERVICES = 1024
MAX_BACKENDS = 8192
MAX_WORKERS = 64

DURATION_BOUNDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.175),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the duration histogram's buckets, in seconds; one more bucket has no bound."""

_CELL = 8
_LINE = 8  # cells of a cache line
_EPOCH = 0
_SALT = 1
_WORDS = _LINE

# A slab's head, offsets in cells.
PID = 0
SEEN = 1
TABLE = 2
CONNECTIONS = 3
HELD = 4
ACCEPTED = 5
TURNED_AWAY = 6
LOG_LINES_LOST = 7
SPANS_EXPORTED = 8
SPANS_DROPPED = 9
_REFUSED = 16
_HANDSHAKES = 32
_PROXY_HEADERS = 48
_SLAB_HEAD = 64

REFUSED_STATUSES = (400, 404, 408, 413, 414, 417, 431, 501, 503, 505)
"""What the proxy answers by itself to requests that no environment sees."""

# A series: one service and color, offsets in cells.
FIRST_CODE = 100
CODES = 0
REASONS = 500
DURATIONS = REASONS + REASON_CELLS
DURATION_SUM = DURATIONS + len(DURATION_BOUNDS) + 1
LATE = DURATION_SUM + 1
LATE_FAILURES = LATE + 1
EXCLUDED = LATE + 2
EXCLUDED_FAILURES = LATE + 3
RETRIES = LATE + 4
_SERIES = 576

# A backend's gauges and counters, offsets in cells.
REQUESTS_IN_FLIGHT = 0
TUNNELS_IN_FLIGHT = 1
BACKEND_FAILURES = 2
_BACKEND = 4

# A series' clients, offsets in cells: `CLIENT_SLOTS` of each.
CLIENT_FAILURES = 0
CLIENT_VISITS = CLIENT_SLOTS
_CLIENTS = 2 * CLIENT_SLOTS

_SLAB_SERIES = _SLAB_HEAD
_SLAB_BACKENDS = _SLAB_SERIES + 2 * MAX_SERVICES * _SERIES
_SLAB_PREVIEWS = _SLAB_BACKENDS + MAX_BACKENDS * _BACKEND
_SLAB_CLIENTS = _SLAB_PREVIEWS + 2 * MAX_SERVICES * _SERIES
_SLAB = _SLAB_CLIENTS + 2 * MAX_SERVICES * _CLIENTS
_SLABS = _WORDS + MAX_SERVICES * _LINE


class Pointer(NamedTuple):
    """An active pointer: which environment, and the how-manieth choice that is."""

    generation: int
    color: Color


@dataclass(frozen=True, slots=True)
class SeriesTotals:
    """The sums over all workers of one service and color, since the supervisor's start.

    Args:
        codes: exchanges by the status that was answered (499: the client went before an answer).
        reasons: exchanges that did not simply succeed.
        durations: cells of the histogram over `DURATION_BOUNDS`, not cumulated.
        duration_sum: seconds.
        late, late_failures: exchanges that ended after their generation had, and failures of these;
            without those that the client or the proxy itself ended.
        excluded, excluded_failures: exchanges on paths that are not judged, likewise.
        retries: requests that were sent once more.
    """

    codes: dict[int, int]
    reasons: dict[Reason, int]
    durations: tuple[int, ...]
    duration_sum: float
    late: int
    late_failures: int
    excluded: int
    excluded_failures: int
    retries: int

    @property
    def requests(self) -> int:
        """All exchanges that ended."""
        return sum(self.codes.values())

    @property
    def failures(self) -> int:
        """Exchanges that the environment is to blame for."""
        return sum(n for reason, n in self.reasons.items() if reason < Reason.CLIENT_ABORT)


@dataclass(frozen=True, slots=True)
class BackendGauges:
    """What one backend carries now, over all workers, and its failures since the start."""

    requests: int
    tunnels: int
    failures: int


def pack(generation: int, color: Color) -> int:
    """The word for a generation (1 to 2**56 - 1) and a color; never zero."""
    if not 0 < generation < 1 << 56:
        raise ValueError(f"generation {generation} is out of range")
    return generation << 8 | color.index + 1


def unpack(word: int) -> Pointer:
    """The generation and color of a word.

    Raises:
        StateError: for a word that `pack` cannot have made.
    """
    tag = word & 0xFF
    if tag not in (1, 2) or not word >> 8:
        raise StateError(f"the pointer word {word:#x} is not a generation and a color")
    return Pointer(word >> 8, Color.BLUE if tag == 1 else Color.GREEN)


def word_cell(word: int) -> int:
    """The cell of a pointer word, 0 to `MAX_SERVICES` - 1."""
    return _WORDS + word * _LINE


class Ledger:
    """The mapped block. `create` in the supervisor, `attach` in a worker; `close` in both."""

    def __init__(self, fd: int, workers: int) -> None:
        self.fd = fd
        self.workers = workers
        self._map = mmap.mmap(fd, _size(workers))
        self.cells = memoryview(self._map).cast("Q")
        self._series_used = 0
        self._backends_used = 0

    @classmethod
    def create(cls, workers: int) -> Ledger:
        """A new block, all zero, for that many worker slots (1 to `MAX_WORKERS`).

        Raises:
            StateError: when the memory cannot be had.
        """
        if not 1 <= workers <= MAX_WORKERS:
            raise StateError(f"{workers} workers; 1 to {MAX_WORKERS} are possible")
        try:
            fd = os.memfd_create("bgproxy-ledger", os.MFD_CLOEXEC)
            os.ftruncate(fd, _size(workers))
        except OSError as error:
            raise StateError(f"no shared memory for the ledger: {error}") from error
        block = cls(fd, workers)
        block.cells[_SALT] = secrets.randbits(64)
        return block

    @classmethod
    def attach(cls, fd: int, workers: int) -> Ledger:
        """The block behind an inherited descriptor."""
        return cls(fd, workers)

    def close(self) -> None:
        """Unmap; every view handed out is invalid afterwards."""
        self.cells.release()
        self._map.close()
        os.close(self.fd)

    # -- pointers ---------------------------------------------------------------------------------

    def pointer(self, word: int) -> Pointer:
        """Read an active pointer; one load."""
        return unpack(self.cells[word_cell(word)])

    def store_pointer(self, word: int, generation: int, color: Color) -> None:
        """Move an active pointer for all workers at once; one store. The supervisor's alone."""
        self.cells[word_cell(word)] = pack(generation, color)

    def raise_epoch(self) -> int:
        """Begin a new epoch after a store and return it; see "Claims and drain" above."""
        self.cells[_EPOCH] += 1
        return self.cells[_EPOCH]

    def mark_seen(self, worker: int) -> int:
        """A worker's quiescent point: publish that it saw the present epoch, and return that."""
        epoch = self.cells[_EPOCH]
        self.cells[slab_base(worker) + SEEN] = epoch
        return epoch

    def has_seen(self, worker: int, epoch: int) -> bool:
        """Whether the worker passed a quiescent point since `epoch` began."""
        return self.cells[slab_base(worker) + SEEN] >= epoch

    # -- reading ----------------------------------------------------------------------------------

    def head(self, worker: int, cell: int) -> int:
        """One cell of a slab's head, such as `CONNECTIONS`."""
        return self.cells[slab_base(worker) + cell]

    def head_total(self, cell: int) -> int:
        """The sum of a head's cell over all slabs."""
        return sum(self.cells[slab_base(slab) + cell] for slab in range(self.workers + 1))

    def series(self, service: int, color: Color) -> SeriesTotals:
        """Sum up a service slot's counters for one color."""
        self._series_used = max(self._series_used, 2 * service + 2)
        return self._totals(lambda slab: series_base(slab, service, color))

    def previews(self, service: int, color: Color) -> SeriesTotals:
        """Sum up what previews of one color were answered while it was idle; no part of `series`.

        A preview is always `late`, as the color was not active.
        """
        return self._totals(lambda slab: preview_base(slab, service, color))

    def clients(self, service: int, color: Color) -> list[int]:
        """Sum up a service slot's judged failures of one color by `client_slot`."""
        return self._sum(lambda slab: clients_base(slab, service, color), CLIENT_SLOTS)

    def visits(self, service: int, color: Color) -> list[int]:
        """Sum up judged requests by `client_slot`, of which each worker takes one a tick."""
        return self._sum(
            lambda slab: clients_base(slab, service, color) + CLIENT_VISITS, CLIENT_SLOTS
        )

    def client_slot(self, address: str) -> int:
        """Where what this client does is counted: the same for all workers.

        Nobody outside knows the salt, so nobody can choose addresses that share a slot.
        """
        salt = self.cells[_SALT].to_bytes(8, "little")
        return hashlib.blake2b(address.encode(), digest_size=1, key=salt).digest()[0]

    def _totals(self, base_of: Callable[[int], int]) -> SeriesTotals:
        cells = self._sum(base_of, _SERIES)
        codes = {FIRST_CODE + i: n for i, n in enumerate(cells[:REASONS]) if n}
        return SeriesTotals(
            codes=codes,
            reasons={reason: n for reason in Reason if (n := cells[REASONS + reason])},
            durations=tuple(cells[DURATIONS:DURATION_SUM]),
            duration_sum=cells[DURATION_SUM] / 1e6,
            late=cells[LATE],
            late_failures=cells[LATE_FAILURES],
            excluded=cells[EXCLUDED],
            excluded_failures=cells[EXCLUDED_FAILURES],
            retries=cells[RETRIES],
        )

    def backend(self, slot: int) -> BackendGauges:
        """Sum up a backend slot's gauges."""
        self._backends_used = max(self._backends_used, slot + 1)
        cells = self._sum(lambda slab: backend_base(slab, slot), _BACKEND)
        return BackendGauges(
            cells[REQUESTS_IN_FLIGHT], cells[TUNNELS_IN_FLIGHT], cells[BACKEND_FAILURES]
        )

    def in_flight(self, slots: tuple[int, ...]) -> tuple[int, int]:
        """Requests and tunnels in flight on these backend slots."""
        requests = tunnels = 0
        for slab in range(self.workers):
            for slot in slots:
                base = backend_base(slab, slot)
                requests += self.cells[base + REQUESTS_IN_FLIGHT]
                tunnels += self.cells[base + TUNNELS_IN_FLIGHT]
        return requests, tunnels

    def _sum(self, base_of: Callable[[int], int], length: int) -> list[int]:
        total = [0] * length
        for slab in range(self.workers + 1):
            base = base_of(slab)
            row = self.cells[base : base + length].tolist()
            if any(row):
                total = [a + b for a, b in zip(total, row, strict=True)]
        return total

    # -- dead workers and reused slots ------------------------------------------------------------

    def use(self, services: int, backends: int) -> None:
        """Tell how many service and backend slots a routing table uses, so that `fold` sees all."""
        self._series_used = max(self._series_used, 2 * services)
        self._backends_used = max(self._backends_used, backends)

    def fold(self, worker: int) -> dict[int, int]:
        """Move a dead worker's counts to the retired slab and clear its slab.

        Returns:
            What it had in flight by backend slot: exchanges that died with it.
        """
        lost: dict[int, int] = {}
        for slot in range(self._backends_used):
            base = backend_base(worker, slot)
            if cut := self.cells[base + REQUESTS_IN_FLIGHT] + self.cells[base + TUNNELS_IN_FLIGHT]:
                lost[slot] = cut
            self.cells[base + REQUESTS_IN_FLIGHT] = self.cells[base + TUNNELS_IN_FLIGHT] = 0
        head = slab_base(worker)
        for cell in (PID, SEEN, TABLE, CONNECTIONS, HELD):
            self.cells[head + cell] = 0
        retired = slab_base(self.workers)
        for start, length in (
            (0, _SLAB_HEAD),
            (_SLAB_SERIES, self._series_used * _SERIES),
            (_SLAB_BACKENDS, self._backends_used * _BACKEND),
            (_SLAB_PREVIEWS, self._series_used * _SERIES),
            (_SLAB_CLIENTS, self._series_used * _CLIENTS),
        ):
            self._move(head + start, retired + start, length)
        return lost

    def _move(self, source: int, target: int, length: int) -> None:
        for offset, count in enumerate(self.cells[source : source + length].tolist()):
            if count:
                self.cells[target + offset] += count
                self.cells[source + offset] = 0

    def count_lost(self, service: int, color: Color, exchanges: int) -> None:
        """Record, in the retired slab, exchanges that died with a worker."""
        base = series_base(self.workers, service, color)
        self.cells[base + REASONS + Reason.WORKER_DIED] += exchanges

    def clear_backend(self, slot: int) -> None:
        """Forget a backend slot's counters so that another backend can have it.

        Only for a slot that no worker's table names and whose gauges are zero.
        """
        for slab in range(self.workers + 1):
            base = backend_base(slab, slot)
            for cell in range(_BACKEND):
                self.cells[base + cell] = 0


def slab_base(slab: int) -> int:
    """First cell of a slab."""
    return _SLABS + slab * _SLAB


def refused_cell(status: int) -> int:
    """Cell, in a slab's head, that counts answers of the proxy's own with this status."""
    if status in REFUSED_STATUSES:
        return _REFUSED + REFUSED_STATUSES.index(status)
    return _REFUSED + len(REFUSED_STATUSES)


def handshake_cell(fault: HandshakeFault) -> int:
    """Cell, in a slab's head, that counts handshakes which failed so."""
    return _HANDSHAKES + fault


def proxy_header_cell(fault: ProxyHeaderFault) -> int:
    """Cell, in a slab's head, that counts connections which had no proper PROXY header."""
    return _PROXY_HEADERS + fault


def series_base(slab: int, service: int, color: Color) -> int:
    """First cell of a service slot's series for one color."""
    return _SLABS + slab * _SLAB + _SLAB_SERIES + (2 * service + color.index) * _SERIES


def preview_base(slab: int, service: int, color: Color) -> int:
    """First cell of the series that counts previews of one color of a service slot."""
    return _SLABS + slab * _SLAB + _SLAB_PREVIEWS + (2 * service + color.index) * _SERIES


def clients_base(slab: int, service: int, color: Color) -> int:
    """First cell of what is counted by client of a service slot and one color."""
    return _SLABS + slab * _SLAB + _SLAB_CLIENTS + (2 * service + color.index) * _CLIENTS


def backend_base(slab: int, slot: int) -> int:
    """First cell of a backend slot."""
    return _SLABS + slab * _SLAB + _SLAB_BACKENDS + slot * _BACKEND


def _size(workers: int) -> int:
    return (_SLABS + (workers + 1) * _SLAB) * _CELL
