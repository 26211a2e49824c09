"""From where the change that is being carried out was asked for.

A variable of the task's context: whatever an API call awaits or starts can say it in the audit
trail, without being handed it through every layer. What begins by itself has none.
"""

from __future__ import annotations

from contextvars import ContextVar

ORIGIN: ContextVar[str] = ContextVar("origin", default="")
"""``10.0.0.7:53122``, or ``uid 1000, pid 4242`` over a unix socket; empty for the proxy itself."""
