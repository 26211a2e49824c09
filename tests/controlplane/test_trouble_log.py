"""Lines about backends that take no connection: the words are there, and not thousands of them."""

from __future__ import annotations

from structlog.testing import capture_logs

from bgproxy.controlplane.trouble_log import TroubleLog
from bgproxy.domain.outcome import Reason

URL = "https://a:1"


def test_a_line_says_why_and_its_like_are_counted_for_a_while() -> None:
    """Ten seconds later the next one says how many there were."""
    log = TroubleLog()
    with capture_logs() as lines:
        for now in (100.0, 100.1, 109.9):
            log.note("shop", URL, Reason.TLS_FAILED, "self-signed certificate", now)
        log.note("shop", URL, Reason.CONNECT_REFUSED, "Connection refused", 100.2)
        log.note("shop", URL, Reason.TLS_FAILED, "certificate has expired", 110.0)
    assert [(line["reason"], line["detail"], line.get("times_before")) for line in lines] == [
        ("tls_failed", "self-signed certificate", None),
        ("connect_refused", "Connection refused", None),
        ("tls_failed", "certificate has expired", 2),
    ]
    assert {(line["service"], line["backend"]) for line in lines} == {("shop", URL)}


def test_it_does_not_grow_without_end() -> None:
    """However many backends there have been."""
    log = TroubleLog()
    with capture_logs() as lines:
        for number in range(5000):
            log.note("shop", f"http://a:{number}", Reason.CONNECT_REFUSED, "refused", 1.0)
        log.note("shop", "http://a:0", Reason.CONNECT_REFUSED, "refused", 1.0)
    assert len(lines) == 5001
