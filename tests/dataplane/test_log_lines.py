"""Lines of the access log: complete, and closed against whatever a client sends."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.dataplane.log_lines import NO_HEAD, CombinedFormat, JsonFormat, Place
from bgproxy.protocol.head import RequestHead

AT = 1795525624.1239
OK = (200, b"ok", 0.0123456, 7, 5120)
PLACE = Place("shop", "blue", 7, "http://10.0.0.7:8000")

COMBINED = re.compile(
    rb"(?P<client>\S+) - - \[(?P<time>[^\]]+)\] "
    rb'"(?P<request>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+) '
    rb'"(?P<referer>[^"]*)" "(?P<agent>[^"]*)" (?P<rest>.*)\n'
)


def head(target: bytes = b"/cart?token=abc", *fields: bytes, method: bytes = b"GET") -> RequestHead:
    lines = b"".join(field + b"\r\n" for field in (b"%b %b HTTP/1.1" % (method, target), *fields))
    return RequestHead(0, method, target, b"x", lines, 0, 1, True, None)


def json_line(head: RequestHead, *, with_query: bool = False) -> bytes:
    form = JsonFormat(with_query=with_query)
    return form.line(AT, form.place(PLACE), b"192.0.2.9", head, OK, b"id-1")


def combined_line(head: RequestHead, *, with_query: bool = False) -> bytes:
    form = CombinedFormat(with_query=with_query)
    return form.line(AT, form.place(PLACE), b"192.0.2.9", head, OK, b"id-1")


def test_a_json_line_has_all_that_a_release_is_debugged_with() -> None:
    """One object, one line."""
    line = json_line(head())
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "time": "2026-11-24T13:07:04.123Z",
        "service": "shop",
        "environment": "blue",
        "generation": 7,
        "backend": "http://10.0.0.7:8000",
        "client": "192.0.2.9",
        "method": "GET",
        "path": "/cart",
        "status": 200,
        "outcome": "ok",
        "duration": 0.012346,
        "bytes_in": 7,
        "bytes_out": 5120,
        "request_id": "id-1",
    }


def test_a_combined_line_begins_as_apaches_does() -> None:
    """What Apache has no field for stands behind."""
    line = combined_line(head(b"/cart", b"User-Agent: curl/8.1", b"Referer: https://a.example/b"))
    assert line == (
        b'192.0.2.9 - - [24/Nov/2026:13:07:04 +0000] "GET /cart HTTP/1.1" 200 5120 '
        b'"https://a.example/b" "curl/8.1" shop blue 7 http://10.0.0.7:8000 ok 0.012346 7 '
        b'id-1 "-"\n'
    )


def test_a_request_that_could_not_be_read_has_a_line_too() -> None:
    """With nothing in it that the client sent."""
    form = JsonFormat(with_query=True)
    line = form.line(AT, form.place(Place()), b"192.0.2.9", NO_HEAD, (400, b"x", 0.0, 0, 0), b"")
    entry = json.loads(line)
    assert (entry["service"], entry["generation"], entry["method"]) == (None, None, "")
    other = CombinedFormat(with_query=True)
    line = other.line(AT, other.place(Place()), b"", NO_HEAD, (400, b"x", 0.0, 0, 0), b"")
    assert line.startswith(b'- - - [24/Nov/2026:13:07:04 +0000] "-" 400 0 "-" "-" - - - - x ')


def test_what_went_wrong_stands_behind_in_words() -> None:
    """Words of a library's, so that they are escaped as well."""
    detail = 'its certificate was refused: "a.test" \\ \xe9\u20ac\n'
    form = JsonFormat(with_query=False)
    line = form.line(AT, form.place(PLACE), b"", head(), OK, b"id-1", detail)
    assert json.loads(line)["detail"] == detail
    assert line.count(b"\n") == 1
    other = CombinedFormat(with_query=False)
    line = other.line(AT, other.place(PLACE), b"", head(), OK, b"id-1", detail)
    assert line.endswith(
        rb' id-1 "its certificate was refused: \x22a.test\x22 \x5C \xE9?\x0A"' + b"\n"
    )


def test_seconds_follow_each_other() -> None:
    """The text of a second is kept for its lines only."""
    form = JsonFormat(with_query=False)
    place = form.place(PLACE)
    lines = (form.line(at, place, b"", head(), OK, b"") for at in (AT, AT + 1, AT))
    times = [json.loads(line)["time"] for line in lines]
    assert [time[17:] for time in times] == ["04.123Z", "05.123Z", "04.123Z"]


def test_secrets_of_queries_and_referers_are_left_out() -> None:
    """Unless queries are asked for; a password in a referer is never written."""
    asked = head(b"/a?token=abc", b"Referer: https://me:secret@a.example/b?token=def")
    for line in (json_line(asked), combined_line(asked)):
        assert b"abc" not in line
        assert b"def" not in line
        assert b"secret" not in line
    assert b"/a?token=abc" in json_line(asked, with_query=True)
    line = combined_line(asked, with_query=True)
    assert b"https://a.example/b?token=def" in line
    assert b"secret" not in line


def test_nothing_makes_a_line_endless() -> None:
    """Long targets, methods and fields are cut."""
    asked = head(b"/" + b"a" * 8000, b"User-Agent: " + b"u" * 8000, method=b"M" * 4000)
    assert len(json_line(asked)) < 2048
    assert len(combined_line(asked)) < 2600


VISIBLE = st.binary(min_size=1, max_size=60).map(lambda b: bytes(33 + c % 94 for c in b))
VALUE = st.binary(max_size=60).map(lambda b: b.translate(None, b"\r\n\0"))


@given(VISIBLE, st.booleans())
def test_any_target_stays_in_its_json_field(target: bytes, with_query: bool) -> None:
    """Quotes and backslashes come back as they were."""
    line = json_line(head(b"/" + target), with_query=with_query)
    wanted = b"/" + target if with_query else (b"/" + target).partition(b"?")[0]
    assert json.loads(line)["path"] == wanted.decode()
    assert line.count(b"\n") == 1


@given(VISIBLE, VALUE, VALUE)
def test_any_value_stays_in_its_combined_field(target: bytes, agent: bytes, referer: bytes) -> None:
    """Whatever a client sends, the line splits into the same fields, of visible ASCII."""
    line = combined_line(head(b"/" + target, b"User-Agent: " + agent, b"Referer: " + referer))
    match = COMBINED.fullmatch(line)
    assert match is not None
    assert match["rest"] == b'shop blue 7 http://10.0.0.7:8000 ok 0.012346 7 id-1 "-"'
    assert re.fullmatch(rb"[ -~]+\n", line)


@pytest.mark.parametrize("injected", [b'" 200 0 "', b"\x1b[2J", b"\x85\x9b", b"\\"])
def test_known_injections_are_escaped(injected: bytes) -> None:
    """Ends of fields, and what terminals obey."""
    line = combined_line(head(b"/", b"User-Agent: a" + injected + b"b"))
    match = COMBINED.fullmatch(line)
    assert match is not None
    escaped = b"".join(
        b"\\x%02X" % c if c in b'"\\' or not 32 <= c < 127 else bytes([c]) for c in injected
    )
    assert match["agent"] == b"a" + escaped + b"b"
