"""Which page stands in for an error answer."""

from __future__ import annotations

from bgproxy.domain.error_pages import ANY_STATUS, ErrorPage, find_page

BUSY = ErrorPage(503, "busy.html", b"busy")
REST = ErrorPage(ANY_STATUS, "error.html", b"error")


def test_the_status_own_page_comes_before_the_default() -> None:
    """Whatever the order in the file."""
    for pages in ((BUSY, REST), (REST, BUSY)):
        assert find_page(pages, 503) == b"busy"
        assert find_page(pages, 502) == b"error"


def test_without_a_page_the_proxys_own_is_used() -> None:
    """None says so."""
    assert find_page((BUSY,), 502) is None
    assert find_page((), 503) is None
