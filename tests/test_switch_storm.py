"""The storm: its verdict sees what is wrong, and the real proxy gives it nothing to see."""

from __future__ import annotations

from benchmarks.storm_backend import Book, read_book
from benchmarks.storm_verdict import SentRequest, SwitchCall, judge
from benchmarks.switch_storm import Storm, run

SWITCHES = [SwitchCall("blue", 0, 0), SwitchCall("green", 10, 11), SwitchCall("blue", 20, 21)]


def _sent(at: float, color: str = "", failure: str = "") -> SentRequest:
    return SentRequest(sent_at=at, answered_at=at + 1, answered_color=color, failure=failure)


def test_verdict_is_clean_when_each_request_was_executed_once_by_the_active_color():
    """One request in each period between two switches, all where they belong."""
    requests = {1: _sent(1, "blue"), 2: _sent(12, "green"), 3: _sent(22, "blue")}
    books = {"blue": [(1, 1.5), (3, 22.5)], "green": [(2, 12.5)]}
    verdict = judge(requests, books, SWITCHES)
    assert verdict.is_clean
    assert (verdict.sent, verdict.decided) == (3, 3)


def test_verdict_allows_either_color_while_a_switch_is_under_way():
    """Sent before the answer, or executed after the next call: both colors are right."""
    requests = {1: _sent(10.5, "blue"), 2: _sent(10.5, "green"), 3: _sent(19, "blue")}
    books = {"blue": [(1, 10.7), (3, 20.5)], "green": [(2, 10.7)]}
    verdict = judge(requests, books, SWITCHES)
    assert verdict.is_clean
    assert verdict.decided == 0


def test_verdict_finds_a_request_that_went_to_the_old_color_after_the_answer():
    """Sent after the answer and executed before the next call: only the new color is right."""
    verdict = judge({7: _sent(11.1, "blue")}, {"blue": [(7, 11.2)], "green": []}, SWITCHES)
    assert verdict.misrouted == 1
    assert verdict.examples == ("7 was executed by blue, not {'green'}",)


def test_verdict_finds_an_answer_that_came_from_another_color_than_the_one_that_executed():
    """An answer that was handed to the wrong request would look like this."""
    verdict = judge({1: _sent(1, "green")}, {"blue": [(1, 1.5)], "green": []}, SWITCHES)
    assert verdict.misrouted == 1


def test_verdict_finds_failed_lost_and_doubled_requests():
    """Each of the three is counted, and none hides another."""
    requests = {1: _sent(1, failure="reset"), 2: _sent(1, "blue"), 3: _sent(1, "blue")}
    books = {"blue": [(1, 1.5), (3, 1.5)], "green": [(3, 12.0)]}
    verdict = judge(requests, books, SWITCHES)
    assert (verdict.failed, verdict.lost, verdict.doubled) == (1, 1, 1)
    assert not verdict.is_clean


def test_a_book_survives_its_way_over_the_wire():
    """Ids and times come back as they were written down."""
    book = Book("blue")
    book.record(5)
    book.record(1 << 60)
    assert [request_id for request_id, _ in read_book(book.to_bytes())] == [5, 1 << 60]
    assert [moment for _, moment in read_book(book.to_bytes())] == list(book.times)


def test_switches_under_load_lose_double_and_misroute_nothing():
    """The real program, two workers, 30 switches: clean, and the check could see most requests."""
    outcome = run(Storm(switches=30, connections=16, rate=500))
    assert outcome.verdict.is_clean, str(outcome)
    assert outcome.verdict.decided > outcome.verdict.sent / 2
