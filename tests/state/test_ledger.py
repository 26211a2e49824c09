"""The shared memory: pointers, claims and counters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.domain.clients import CLIENT_SLOTS
from bgproxy.domain.model import Color
from bgproxy.domain.outcome import Reason
from bgproxy.errors import StateError
from bgproxy.state import ledger
from bgproxy.state.ledger import Ledger, Pointer, pack, unpack


@pytest.fixture
def block() -> Iterator[Ledger]:
    """A ledger for two workers."""
    block = Ledger.create(2)
    yield block
    block.close()


@given(st.integers(1, 2**56 - 1), st.sampled_from(Color))
def test_pointer_packs_and_unpacks(generation: int, color: Color) -> None:
    """A word holds both parts, and zero is never one."""
    word = pack(generation, color)
    assert 0 < word < 1 << 64
    assert unpack(word) == Pointer(generation, color)


@pytest.mark.parametrize("word", [0, 1, 2, 0x100, 0x103])
def test_word_that_was_never_packed_is_refused(word: int) -> None:
    """Fresh memory and torn values are told from a pointer."""
    with pytest.raises(StateError):
        unpack(word)


@pytest.mark.parametrize("generation", [0, -1, 2**56])
def test_generation_out_of_range_is_refused(generation: int) -> None:
    """A generation that a word cannot hold never gets there."""
    with pytest.raises(ValueError, match="out of range"):
        pack(generation, Color.BLUE)


def test_two_words_do_not_touch_each_other(block: Ledger) -> None:
    """Each service's pointer is its own."""
    block.store_pointer(0, 7, Color.GREEN)
    block.store_pointer(1, 9, Color.BLUE)
    assert block.pointer(0) == Pointer(7, Color.GREEN)
    assert block.pointer(1) == Pointer(9, Color.BLUE)


def test_epoch_is_seen_only_by_those_who_marked_it(block: Ledger) -> None:
    """A worker that has not passed a quiescent point since the store holds the drain up."""
    epoch = block.raise_epoch()
    assert not block.has_seen(0, epoch)
    assert block.mark_seen(0) == epoch
    assert block.has_seen(0, epoch)
    assert not block.has_seen(1, epoch)
    assert not block.has_seen(0, block.raise_epoch())


def test_series_are_summed_over_workers(block: Ledger) -> None:
    """Every worker counts for itself; readers see one sum."""
    for worker in range(2):
        base = ledger.series_base(worker, 3, Color.GREEN)
        block.cells[base + ledger.CODES + 200 - ledger.FIRST_CODE] += 10
        block.cells[base + ledger.CODES + 502 - ledger.FIRST_CODE] += 1
        block.cells[base + ledger.REASONS + Reason.RESET] += 1
        block.cells[base + ledger.REASONS + Reason.CLIENT_ABORT] += 5
        block.cells[base + ledger.DURATIONS + 2] += 11
        block.cells[base + ledger.DURATION_SUM] += 1_500_000
    totals = block.series(3, Color.GREEN)
    assert totals.codes == {200: 20, 502: 2}
    assert totals.requests == 22
    assert totals.reasons == {Reason.RESET: 2, Reason.CLIENT_ABORT: 10}
    assert totals.failures == 2, "a client that goes away is no failure"
    assert totals.durations[2] == 22
    assert totals.duration_sum == 3.0
    assert block.series(3, Color.BLUE).requests == 0


def test_dead_workers_counts_stay_and_its_gauges_go(block: Ledger) -> None:
    """Folding moves counters to the retired slab, and tells what died with the worker."""
    block.use(services=4, backends=8)
    base = ledger.series_base(1, 3, Color.BLUE)
    block.cells[base + ledger.CODES + 200 - ledger.FIRST_CODE] += 4
    backend = ledger.backend_base(1, 7)
    block.cells[backend + ledger.REQUESTS_IN_FLIGHT] += 2
    block.cells[backend + ledger.TUNNELS_IN_FLIGHT] += 1
    block.cells[backend + ledger.BACKEND_FAILURES] += 6
    block.mark_seen(1)
    before = block.series(3, Color.BLUE)

    assert block.fold(1) == {7: 3}

    assert block.series(3, Color.BLUE) == before
    assert block.backend(7).requests == 0
    assert block.backend(7).tunnels == 0
    assert block.backend(7).failures == 6
    assert block.fold(1) == {}, "a second fold finds nothing"
    assert block.series(3, Color.BLUE) == before


def test_exchanges_lost_with_a_worker_are_counted(block: Ledger) -> None:
    """What a killed worker had in flight appears under its reason."""
    block.count_lost(0, Color.GREEN, 3)
    assert block.series(0, Color.GREEN).reasons == {Reason.WORKER_DIED: 3}


def test_slot_can_be_given_to_another_backend(block: Ledger) -> None:
    """Nothing of the former owner is left in any slab."""
    block.cells[ledger.backend_base(0, 5) + ledger.BACKEND_FAILURES] += 3
    block.clear_backend(5)
    assert block.backend(5).failures == 0


def test_too_many_workers_are_refused() -> None:
    """The block is made for a bounded number of workers."""
    with pytest.raises(StateError, match="1 to 64"):
        Ledger.create(65)


READER = """
import sys
from bgproxy.state import ledger
block = ledger.Ledger.attach(int(sys.argv[1]), 1)
cell = ledger.word_cell(0)
print("ready", flush=True)
cells, seen, changes, last = block.cells, 0, 0, 0
while True:
    word = cells[cell]
    if word != last:
        pointer = ledger.unpack(word)
        assert pointer.color.index == pointer.generation % 2, pointer
        assert word > last, "generations only grow"
        changes += 1
        last = word
        if pointer.generation == int(sys.argv[2]):
            break
print(changes, flush=True)
"""


def test_previews_are_counted_apart_and_outlive_their_worker(block: Ledger) -> None:
    """What the idle side answered to testers is in no sum of the service's own."""
    block.use(1, 0)
    base = ledger.preview_base(1, 0, Color.GREEN)
    block.cells[base + ledger.CODES + 200 - ledger.FIRST_CODE] += 3
    block.cells[base + ledger.REASONS + Reason.RESET] += 1
    for _ in range(2):
        previews = block.previews(0, Color.GREEN)
        assert (previews.codes, previews.failures) == ({200: 3}, 1)
        assert block.previews(0, Color.BLUE).requests == 0
        assert block.series(0, Color.GREEN).requests == 0
        block.fold(1)


def test_failures_are_counted_by_client(block: Ledger) -> None:
    """A client has the same slot in every worker, and slots are those of one series."""
    block.use(2, 0)
    other = Ledger.attach(os.dup(block.fd), 2)
    slot = block.client_slot("192.0.2.7")
    assert slot == other.client_slot("192.0.2.7")
    block.cells[ledger.clients_base(0, 1, Color.BLUE) + slot] += 4
    other.cells[ledger.clients_base(1, 1, Color.BLUE) + slot] += 2
    other.close()
    block.fold(1)
    assert block.clients(1, Color.BLUE)[slot] == sum(block.clients(1, Color.BLUE)) == 6
    assert sum(block.clients(1, Color.GREEN)) == sum(block.clients(0, Color.BLUE)) == 0


def test_visits_are_counted_beside_failures_and_outlive_their_worker(block: Ledger) -> None:
    """Neither runs into the other, nor into the next series."""
    block.use(2, 0)
    base = ledger.clients_base(0, 1, Color.BLUE)
    last = CLIENT_SLOTS - 1
    block.cells[base + ledger.CLIENT_FAILURES + last] += 1
    block.cells[base + ledger.CLIENT_VISITS] += 2
    block.cells[base + ledger.CLIENT_VISITS + last] += 3
    for _ in range(2):
        visits = block.visits(1, Color.BLUE)
        assert (visits[0], visits[last], sum(visits)) == (2, 3, 5)
        assert sum(block.clients(1, Color.BLUE)) == 1
        assert not any(block.visits(1, Color.GREEN) + block.clients(1, Color.GREEN))
        block.fold(0)


def test_clients_are_hashed_anew_for_every_ledger() -> None:
    """Nobody can know beforehand which addresses share a slot."""
    blocks = [Ledger.create(1) for _ in range(3)]
    addresses = [f"192.0.2.{n}" for n in range(50)]
    slots = [tuple(map(block.client_slot, addresses)) for block in blocks]
    for block in blocks:
        block.close()
    assert len(set(slots)) == 3


def test_pointer_is_never_seen_torn_by_another_process() -> None:
    """One process stores 200,000 pointers while another reads: each one seen is whole and newer.

    Generations cross a byte boundary all the time, and the color follows the generation, so a
    word of two halves would be noticed.
    """
    block = Ledger.create(1)
    block.store_pointer(0, 1, Color.GREEN)
    last = 200_001
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(block.fd), str(last)],
        stdout=subprocess.PIPE,
        pass_fds=(block.fd,),
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    for generation in range(2, last + 1):
        block.store_pointer(0, generation, Color.GREEN if generation % 2 else Color.BLUE)
    output, _ = reader.communicate(timeout=30)
    assert reader.returncode == 0
    assert int(output) > 10
    block.close()
