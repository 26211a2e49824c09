"""Pages of a service's own that stand in for the proxy's error answers."""

from __future__ import annotations

from dataclasses import dataclass

ANY_STATUS = 0
"""The status of the page for whatever has none of its own."""

MAX_PAGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """One page.

    Args:
        status: that it is for; `ANY_STATUS` for all that have none.
        file: that it was read from, as people wrote it.
        html: its text, at most `MAX_PAGE_BYTES`.
    """

    status: int
    file: str
    html: bytes


def find_page(pages: tuple[ErrorPage, ...], status: int) -> bytes | None:
    """The text of the page for a status, or None where the proxy's own is to be used."""
    found: bytes | None = None
    for page in pages:
        if page.status == status:
            return page.html
        if page.status == ANY_STATUS:
            found = page.html
    return found
