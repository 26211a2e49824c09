"""Events: numbered, kept for a while, never waited for."""

from __future__ import annotations

import asyncio

import pytest

from bgproxy.controlplane.events import Event, EventHub, Subscription


async def take(subscription: Subscription, count: int) -> list[int]:
    """The ids of the next events."""
    async with asyncio.timeout(5):
        return [(await anext(subscription)).id for _ in range(count)]


async def test_events_are_numbered_and_dated() -> None:
    """Ids grow by one; times are RFC 3339 in UTC."""
    hub = EventHub()
    first, second = hub.publish("switch", "a", to="green"), hub.publish("drained", "a")
    assert (first.id, second.id) == (1, 2)
    assert first.data == {"to": "green"}
    assert first.at.endswith("Z")
    assert "T" in first.at


async def test_a_subscriber_gets_what_happens_from_now_on() -> None:
    """Whether it waits already or comes later."""
    hub = EventHub()
    hub.publish("old", "a")
    subscription = hub.subscribe()
    waiting = asyncio.ensure_future(take(subscription, 2))
    await asyncio.sleep(0)
    hub.publish("new", "a")
    hub.publish("new", "a")
    assert await waiting == [2, 3]


async def test_a_subscriber_catches_up() -> None:
    """From the event after the one it saw last, as far as events are kept."""
    hub = EventHub(kept=3)
    for _ in range(5):
        hub.publish("x", "a")
    assert await take(hub.subscribe(after=3), 2) == [4, 5]
    assert await take(hub.subscribe(after=0), 3) == [3, 4, 5]


async def test_a_slow_subscriber_is_dropped() -> None:
    """Nobody else notices."""
    hub = EventHub(most_queued=2)
    slow, quick = hub.subscribe(), hub.subscribe()
    for id in range(1, 4):
        hub.publish("x", "a")
        assert await take(quick, 1) == [id]
    with pytest.raises(StopAsyncIteration):
        await anext(slow)


async def test_catching_up_is_not_slowness() -> None:
    """A long backlog does not count against the bound."""
    hub = EventHub(kept=100, most_queued=2)
    for _ in range(50):
        hub.publish("x", "a")
    subscription = hub.subscribe(after=0)
    hub.publish("x", "a")
    assert await take(subscription, 51) == list(range(1, 52))


async def test_closing_ends_the_iteration() -> None:
    """Also for one that waits."""
    hub = EventHub()
    subscription = hub.subscribe()

    async def collect() -> list[Event]:
        return [event async for event in subscription]

    waiting = asyncio.ensure_future(collect())
    await asyncio.sleep(0)
    hub.publish("x", "a")
    subscription.close()
    assert [event.id for event in await waiting] == [1]
    hub.publish("x", "a")
