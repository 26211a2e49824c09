"""One answer for each ``Idempotency-Key``: a change that is sent again happens once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bgproxy.errors import Refused

Operation = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class _Entry:
    fingerprint: str
    task: asyncio.Task[dict[str, Any]]


class Changes:
    """Runs changes as tasks of their own, so that a client that goes away ends nothing.

    Args:
        remembered: how many keys are kept; the oldest finished one is forgotten first.
    """

    __slots__ = ("_entries", "_remembered", "_tasks")

    def __init__(self, remembered: int = 256) -> None:
        self._remembered = remembered
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._tasks: set[asyncio.Task[dict[str, Any]]] = set()

    async def run(
        self, operation: Operation, *, actor: str, key: str | None, fingerprint: str
    ) -> tuple[dict[str, Any], bool]:
        """Carry `operation` out, or hand back what it gave when `key` came before.

        Args:
            fingerprint: what the request asks; the same key with another one is refused.

        Returns:
            The document, and whether it is that of an earlier request.

        Raises:
            Refused: 422 for a reused key; 503 when the proxy stops before the operation has ended;
                or what `operation` raised, now or the first time.
        """
        if key is None:
            return await self._result(self._start(operation)), False
        entry = self._entries.get((actor, key))
        if entry is None:
            entry = _Entry(fingerprint, self._start(operation))
            self._entries[actor, key] = entry
            self._forget()
            return await self._result(entry.task), False
        if entry.fingerprint != fingerprint:
            raise Refused(
                422,
                "idempotency-key-reused",
                f"The key {key!r} was sent with another request before; use a new one.",
            )
        return await self._result(entry.task), True

    async def _result(self, task: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
        """What a change gave; whoever waits for it at the end of the proxy is told so."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise  # the one who asked has gone
        raise Refused(
            503,
            "stopping",
            "The proxy stops. What was begun is in its state and goes on when it starts again.",
        )

    def _start(self, operation: Operation) -> asyncio.Task[dict[str, Any]]:
        async def run() -> dict[str, Any]:
            return await operation()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[dict[str, Any]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody waiting is no news for the log

    def _forget(self) -> None:
        """Drop the oldest finished keys over the bound; one under way is never dropped."""
        surplus = len(self._entries) - self._remembered
        finished = [where for where, entry in self._entries.items() if entry.task.done()]
        for where in finished[: max(surplus, 0)]:
            del self._entries[where]

    async def stop(self) -> None:
        """End what is under way, and tell whoever waits; deployments go on in the journal."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
