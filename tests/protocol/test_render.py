"""Answers in the proxy's own name."""

from __future__ import annotations

import json

import pytest

from bgproxy.domain.outcome import Reason
from bgproxy.protocol import head as door
from bgproxy.protocol.chunked import ChunkedReader
from bgproxy.protocol.render import LAST_CHUNK, chunk_head, error_answer


def answer(status: int = 502, reason: str = "reset", detail: str = "gone", **more):
    """An answer as a client reads it: its head, its fields and its body."""
    data = error_answer(status, reason, detail, **{"keep_alive": False, **more})
    head = door.read_response_head(data, b"HEAD" if more.get("head_only") else b"GET")
    assert head is not None
    fields = dict(
        line.split(": ", 1) for line in data[: head.end - 4].decode("latin-1").split("\r\n")[1:]
    )
    body = data[head.end :]
    assert len(body) == head.length
    return head, fields, body.decode()


def test_answer_says_the_reason_to_people_and_machines() -> None:
    """A stable word in the body and in Proxy-Status (RFC 9209)."""
    head, fields, body = answer()
    assert head.status == 502
    assert not head.keep_alive
    assert fields["Content-Type"] == "text/plain; charset=utf-8"
    assert fields["Cache-Control"] == "no-store"
    assert fields["Proxy-Status"] == 'bgproxy; error=connection_terminated; details="reset"'
    assert body == "502 Bad Gateway: gone (reset)\n"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (b"", "text/plain"),
        (b"*/*", "text/plain"),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        (b"application/json", "application/problem+json"),
        (b"application/json, text/plain, */*", "application/problem+json"),
        (b"application/problem+json", "application/problem+json"),
        (b"application/vnd.api+json", "application/problem+json"),
        (b"text/html;q=0.5, APPLICATION/JSON;q=0.9", "application/problem+json"),
        (b"application/json;q=0, text/html;q=0.1", "text/html"),
        (b"application/*", "application/problem+json"),
        (b"application/json;q=x", "text/plain"),
        (b"image/png, text/*", "text/plain"),
        (b";;,q=,\xff", "text/plain"),
    ],
)
def test_accept_chooses_the_form(accept: bytes, media_type: str) -> None:
    """RFC 9110 section 12.5.1; text where nothing else is asked for."""
    _, fields, _ = answer(accept=accept)
    assert fields["Content-Type"].partition(";")[0] == media_type


def test_problem_is_one_of_rfc_9457() -> None:
    """With the reason as a member of its own."""
    _, _, body = answer(404, "unknown_service", 'no "x"', accept=b"application/json")
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": 'no "x"',
        "reason": "unknown_service",
    }


def test_details_cannot_break_out() -> None:
    """They may hold a client's bytes: markup, line ends, anything."""
    evil = '<script>"\r\nX: y\\\xe9☃'
    for accept in (b"text/html", b"application/json", b"text/plain"):
        head, _, body = answer(400, evil, evil, accept=accept)
        assert b"\r\nX:" not in head.lines
        if accept == b"text/html":
            assert "<script>" not in body


def test_own_page_is_filled_in_for_browsers_alone() -> None:
    """Placeholders become text, never markup; programs get what programs read."""
    page = b"<p>{{status}} {{ title }} {{detail}} {{reason}} {{other}}</p>"
    _, fields, body = answer(503, "paused", "<b>{{status}}", accept=b"text/html", page=page)
    assert body == "<p>503 Service Unavailable &lt;b&gt;{{status}} paused {{other}}</p>"
    assert fields["Content-Type"] == "text/html; charset=utf-8"
    assert "<p>" not in answer(503, accept=b"application/json", page=page)[2]
    assert "<p>" not in answer(503, page=page)[2]


def test_connection_is_closed_where_told() -> None:
    """Otherwise it is kept."""
    assert "Connection" not in answer(keep_alive=True)[1]
    assert answer(keep_alive=False)[1]["Connection"] == "close"


def test_retry_after_and_date() -> None:
    """RFC 9110 sections 10.2.3 and 6.6.1."""
    _, fields, _ = answer(503, "overloaded", "busy", retry_after=1, now=0.0)
    assert fields["Retry-After"] == "1"
    assert fields["Date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert not {"Retry-After", "Date"} & set(answer()[1])


def test_further_fields_are_added() -> None:
    """What they say about caching takes the place of ours."""
    _, fields, _ = answer(fields=b"X-A: 1\r\n")
    assert (fields["X-A"], fields["Cache-Control"]) == ("1", "no-store")
    _, fields, _ = answer(fields=b"Cache-Control: private, no-store\r\n")
    assert fields["Cache-Control"] == "private, no-store"


def test_head_gets_no_body() -> None:
    """But the length that GET would get (RFC 9110 section 9.3.2)."""
    _, fields, body = answer(head_only=True)
    assert body == ""
    assert fields["Content-Length"] == str(len(answer()[2]))


def test_unknown_status_has_a_phrase() -> None:
    """A status that the library does not name is no error."""
    assert answer(599)[0].lines.startswith(b"HTTP/1.1 599 Error\r\n")


def test_every_failure_of_a_backend_has_its_word_in_rfc_9209() -> None:
    """Proxy-Status blames the request only for what is the request's."""
    # An error that the backend answers with passes as it is.
    for reason in set(Reason) - {Reason.SERVER_ERROR}:
        _, fields, _ = answer(502, reason.label)
        is_clients = reason in (
            *(Reason.CLIENT_ABORT, Reason.BAD_REQUEST, Reason.REQUEST_TIMEOUT, Reason.TOO_LARGE),
        )
        assert ("error=http_request_error" in fields["Proxy-Status"]) is is_clients, reason
    assert "error=x_y;" in answer(proxy_error="x_y")[1]["Proxy-Status"]


def test_chunks_that_we_write_are_read() -> None:
    """Framing as the decoder takes it."""
    reader = ChunkedReader(keep_framing=False)
    data = chunk_head(300) + bytes(300) + b"\r\n" + LAST_CHUNK
    assert reader.feed(data) == len(data)
    assert reader.is_done
    assert reader.payload_bytes == 300
