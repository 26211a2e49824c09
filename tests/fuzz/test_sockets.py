"""A small share of the fuzzes over sockets, for every run of the suite."""

from __future__ import annotations

import random

import pytest


async def test_mutated_requests_are_answered_or_closed_and_read_alike() -> None:
    """Another seed every time, named by the failure; the long run is the script's."""
    pytest.importorskip("h11")
    from tests.fuzz.sockets import fuzz

    seed = random.randrange(1 << 32)
    outcomes = await fuzz(1500, seed)
    assert outcomes["200"] > 50, f"seed {seed}"
    assert outcomes["400"] > 50, f"seed {seed}"
    # Not as many as there are 200s: a last hop (Max-Forwards) answers TRACE and OPTIONS itself.
    assert outcomes["requests at the backend"] > 50, f"seed {seed}"


async def test_mutated_answers_reach_the_client_readable_or_cut() -> None:
    """Another seed every time, named by the failure; the long run is the script's."""
    pytest.importorskip("h11")
    from tests.fuzz.answers import fuzz

    seed = random.randrange(1 << 32)
    outcomes = await fuzz(500, seed)
    assert outcomes["200"] > 10, f"seed {seed}"
    assert outcomes["502"] > 50, f"seed {seed}"
