"""How an exchange ended, and what of that is the backend's failure.

A *reason* names why an exchange did not simply succeed. Its side decides who is to blame:
failures of the ``upstream`` feed the judge of a release and `errors_total`; what the client or the
proxy itself ended does not (nobody may roll back a release because a browser tab was closed).
"""

from __future__ import annotations

import enum


class Side(enum.StrEnum):
    """Who ended an exchange that did not simply succeed."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    PROXY = "proxy"


class Reason(enum.IntEnum):
    """Why an exchange did not simply succeed; the number is its cell in the ledger."""

    CONNECT_REFUSED = 0
    CONNECT_TIMEOUT = 1
    CONNECT_FAILED = 2
    RESPONSE_TIMEOUT = 3
    RESET = 4
    TRUNCATED = 5
    BAD_RESPONSE = 6
    SERVER_ERROR = 7
    NO_BACKEND = 8
    TLS_FAILED = 9
    CLIENT_ABORT = 16
    BAD_REQUEST = 17
    REQUEST_TIMEOUT = 18
    TOO_LARGE = 19
    OVERLOADED = 24
    PAUSED = 25
    DRAINED = 26
    WORKER_DIED = 27

    @property
    def label(self) -> str:
        """The reason as metrics, logs and error answers show it."""
        return self.name.lower()

    @property
    def side(self) -> Side:
        """Who is to blame."""
        if self < Reason.CLIENT_ABORT:
            return Side.UPSTREAM
        return Side.DOWNSTREAM if self < Reason.OVERLOADED else Side.PROXY


REASON_CELLS = 32
"""How many cells the ledger keeps for reasons; no `Reason` is as large."""

_NOT_THE_RELEASE = frozenset({501, 505})
"""5xx answers that speak of the request, not of the backend's health."""


def reason_of_status(status: int) -> Reason | None:
    """The reason that a backend's complete answer stands for; None for a success.

    A 4xx is the client's matter and a success here; 501 and 505 speak of the request.
    """
    if status >= 500 and status not in _NOT_THE_RELEASE:
        return Reason.SERVER_ERROR
    return None


def is_failure(reason: Reason) -> bool:
    """Whether the reason counts against the environment in the judge's eyes.

    An environment without any backend (`Reason.NO_BACKEND`) is one: its users see errors.
    """
    return reason.side is Side.UPSTREAM
