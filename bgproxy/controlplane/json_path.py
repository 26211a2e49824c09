"""Values inside JSON documents by a dotted path."""

from __future__ import annotations

from typing import Any

ABSENT = object()
"""What `find` gives where there is nothing; null is something."""


def find(document: Any, path: str) -> Any:
    """The value at a dotted path such as ``status.checks.0.name``; numbers index lists.

    Returns:
        `ABSENT` where the path leads nowhere.
    """
    for step in path.removeprefix("$.").split("."):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return ABSENT
    return document
