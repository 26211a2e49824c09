"""What workers say of backends that take no connection: for the operator, and now and then only."""

from __future__ import annotations

import structlog

from bgproxy.domain.outcome import Reason

_QUIET_SECONDS = 10.0
"""Between two lines about one backend and reason: under load there are thousands of them."""

_MOST_KEPT = 4096

log = structlog.get_logger("bgproxy.backends")


class TroubleLog:
    """Writes what went wrong, in the words that clients are not told."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str, Reason], float] = {}
        self._unsaid: dict[tuple[str, str, Reason], int] = {}

    def note(self, service: str, backend: str, reason: Reason, detail: str, now: float) -> None:
        """Write a line, unless one like it was written just now.

        Args:
            backend: its URL.
            detail: why, such as what is wrong with its certificate.
            now: seconds.
        """
        key = (service, backend, reason)
        if now < self._said.get(key, -_QUIET_SECONDS) + _QUIET_SECONDS:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return
        if len(self._said) >= _MOST_KEPT:
            self._said.clear()
            self._unsaid.clear()
        self._said[key] = now
        unsaid = self._unsaid.pop(key, 0)
        log.warning(
            "backend takes no connection",
            service=service,
            backend=backend,
            reason=reason.label,
            detail=detail,
            **({"times_before": unsaid} if unsaid else {}),
        )
