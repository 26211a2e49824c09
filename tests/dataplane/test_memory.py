"""What a worker remembers of requests: by ids of clients, by its own, within bounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from bgproxy.dataplane.memory import RequestMemory
from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.state.channel import FindRequest, FoundRequest

PREFIX = b"0123456789ab"


def memory(ring: int = 0) -> RequestMemory:
    worker = SimpleNamespace(request_prefix=PREFIX, epoch_offset=1000.0, index=1)
    kept = RequestMemory(cast(Any, worker))
    assert (kept.keep(ring) is None) is (ring == 0)
    return kept


def request(number: int, own_id: bytes | None = None) -> Any:
    """A client connection whose request has just ended."""
    extras = None if own_id is None else {b"x-request-id": own_id}
    return SimpleNamespace(
        number=number,
        method=b"GET",
        started=0.0,
        generation=7,
        head=SimpleNamespace(method=b"GET", extras=extras, target=b"/path?secret=1" + b"x" * 500),
        route=SimpleNamespace(name="shop"),
        environment=SimpleNamespace(color=Color.GREEN),
        backend=SimpleNamespace(url="http://a:1"),
    )


def find(kept: RequestMemory, request_id: str) -> FoundRequest | None:
    answer = kept.answer(FindRequest(5, request_id))
    assert answer.number == 5
    return answer.request


def test_a_failure_is_found_by_either_id() -> None:
    """Ours is the worker's prefix and the number; queries are not told."""
    kept = memory()
    kept.failed(request(0x1F), 502, Reason.CONNECT_REFUSED)
    kept.failed(request(0x20, b"theirs"), 504, Reason.RESPONSE_TIMEOUT)
    ours = find(kept, "0123456789ab1f")
    assert ours is not None
    assert (ours.service, ours.color, ours.backend) == ("shop", "green", "http://a:1")
    assert (ours.generation, ours.status, ours.path) == (7, 502, "/path")
    assert ours.outcome == Reason.CONNECT_REFUSED.label
    assert (ours.at, ours.worker) == (1000.0, 1)
    theirs = find(kept, "theirs")
    assert theirs is not None
    assert theirs.status == 504
    for unknown in ("0123456789ab20", "0123456789ab", "0123456789abxyz", "other", "ü" * 9):
        assert find(kept, unknown) is None


def test_refusals_are_remembered_without_an_environment() -> None:
    """Those that could not be read have no id."""
    kept = memory()
    kept.was_refused(request(1), 404, "unknown_service", None)
    kept.waited_in_vain(request(2), 503, "queue_full")
    unread = request(3)
    unread.method = b""
    kept.was_refused(unread, 400, "bad_request", None)
    refused, waited = find(kept, "0123456789ab1"), find(kept, "0123456789ab2")
    assert refused is not None
    assert waited is not None
    assert (refused.service, refused.color, refused.generation) == ("", "", 0)
    assert (waited.service, waited.color, waited.backend) == ("shop", "green", "")
    assert find(kept, "0123456789ab3") is None


def test_what_went_well_is_remembered_in_a_ring() -> None:
    """As many as were asked for; another size keeps the newest."""
    kept = memory(3)
    for number in range(1, 6):
        kept.exchange(request(number), 200, None)
    assert find(kept, "0123456789ab2") is None
    assert find(kept, "0123456789ab3") is not None
    kept.keep(1)
    assert find(kept, "0123456789ab4") is None
    assert find(kept, "0123456789ab5") is not None
    kept.ended(request(9), 101, None, 1, 2)
    found = find(kept, "0123456789ab9")
    assert found is not None
    assert (found.status, found.outcome) == (101, "ok")
    kept.keep(0)
    assert find(kept, "0123456789ab9") is None


def test_failures_are_bounded_and_kept_once() -> None:
    """The oldest make room; the ring takes none of them."""
    kept = memory(2)
    for number in range(1, 1027):
        kept.failed(request(number), 502, Reason.CONNECT_REFUSED)
        kept.exchange(request(number), 502, Reason.CONNECT_REFUSED)
    assert find(kept, "0123456789ab2") is None
    assert find(kept, "0123456789ab3") is not None
