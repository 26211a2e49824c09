"""Pulses: everyone who waits is woken."""

from __future__ import annotations

import asyncio

from bgproxy.controlplane.pulse import Pulse


async def test_a_pulse_wakes_all_who_wait_now() -> None:
    """And nobody who comes later; a waiter that is cancelled is forgotten."""
    pulse = Pulse()
    waiting = [asyncio.ensure_future(pulse.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    pulse.beat()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None, None]
    late = asyncio.ensure_future(pulse.wait())
    await asyncio.sleep(0)
    assert not late.done()
    pulse.beat()
    await late
