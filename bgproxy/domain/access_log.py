"""What is written down of each request, and where."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class LogFormat(enum.StrEnum):
    """How a line of the access log reads."""

    JSON = "json"
    COMBINED = "combined"


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Where requests are written down, and which of them.

    Args:
        path: a file, relative to the working directory; ``-`` for standard output; empty for no
            log at all.
        format: of the lines.
        sample: share of the requests that went well which is written; all others always are.
        query: whether the query of a request's target, which may hold secrets, is written too.
    """

    path: str = ""
    format: LogFormat = LogFormat.JSON
    sample: float = 1.0
    query: bool = False
