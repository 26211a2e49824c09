"""Every exception that bgproxy raises on purpose; an error carries the facts its catcher needs.

BgproxyError
├── ConfigError          a configuration that cannot be used, with all its faults
├── ExchangeError        one request could not be carried through: side, reason, status
│   ├── BadRequest       the client's bytes break a rule
│   └── BadResponse      the backend's bytes break a rule
├── Refused              the control plane will not do what was asked, and why
└── StateError           the state database or the shared memory cannot be read or written
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class BgproxyError(Exception):
    """Base of all errors of this package."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a configuration.

    Args:
        path: the key's path, such as ``services.default.drain.timeout``; empty for the file itself.
        problem: what is wrong.
        remedy: what would be right.
        file, line, column: where it stands; lines and columns count from 1, 0 where unknown.
    """

    path: str
    problem: str
    remedy: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        key = f"{self.path}: " if self.path else ""
        return f"{where if self.file else ''}{key}{self.problem}; {self.remedy}"


class ConfigError(BgproxyError):
    """A configuration that cannot be used; ``faults`` names everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class ExchangeError(BgproxyError):
    """One request could not be carried through.

    Args:
        status: the HTTP status that tells the client.
        reason: a stable word for counters and machine-readable answers.
        detail: what exactly was wrong, for people.
    """

    side = ""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


class BadRequest(ExchangeError):
    """The client's bytes break a rule; ``status`` is 400, 413, 414, 417, 431, 501 or 505."""

    side = "downstream"


class BadResponse(ExchangeError):
    """The backend's bytes break a rule; the client gets 502."""

    side = "upstream"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(502, reason, detail)


class Refused(BgproxyError):
    """The control plane will not do what was asked.

    Args:
        status: 404, 409, 422 or 503.
        kind: the stable last part of the problem's ``type``, such as ``generation-mismatch``.
        detail: one sentence for people.
        facts: further members of the problem document (RFC 9457 section 3.2).
    """

    def __init__(
        self, status: int, kind: str, detail: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.facts = dict(facts or {})


class StateError(BgproxyError):
    """The state database or the shared memory cannot be read or written."""
