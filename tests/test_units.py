"""Durations, sizes and shares: what is read, what is refused, and that both ways agree."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("250ms", 0.25),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("0.1ms", 0.0001),
        ("0.3s", 0.3),
    ],
)
def test_durations_are_seconds(text, seconds):
    """Every unit, with decimals and without, gives the nearest float."""
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "00", "5 s", " 5s", "5s ", "5s\n"),
        *("5S", "5sec", "5d", "1h30m"),
        *("-5s", "+5s", "1,5s", ".5s", "5.s", "1e3s", "infs", "nans", "\u0663s", "9" * 16 + "s"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(text):
    """The one sentence names the text and shows right ones."""
    with pytest.raises(ValueError, match="is not a duration; write a number and its unit") as error:
        units.parse_duration(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (1.5, "1.5s"),
        (2.0, "2s"),
        (75.0, "75s"),
        (90.0, "90s"),
        (300.0, "5m"),
        (5400.0, "90m"),
        (7200.0, "2h"),
        (0.0005, "0.0005s"),
    ],
)
def test_durations_are_written_in_the_largest_whole_unit(seconds, text):
    """What fits no unit without decimals is written in seconds, with them."""
    assert units.format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e12, allow_nan=False))
def test_every_duration_comes_back(seconds):
    """Writing and reading give the very same float."""
    assert units.parse_duration(units.format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("64KiB", 65536),
        ("1.5KiB", 1536),
        ("10MiB", 10 * 1024**2),
        ("1GiB", 1024**3),
        ("2TiB", 2 * 1024**4),
    ],
)
def test_sizes_are_bytes(text, size):
    """Units are of 1024; a bare number is bytes."""
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("64KB", "write 64KiB, in units of 1024"),
        ("64k", "write 64KiB, in units of 1024"),
        ("64 MiB", "write 64MiB, in units of 1024"),
        ("1gb", "write 1GiB, in units of 1024"),
        ("-1", "write a number of bytes"),
        ("1.5", "write a number of bytes"),
        ("big", "write a number of bytes"),
        ("", "write a number of bytes"),
        ("1" * 19, "write a number of bytes"),
    ],
)
def test_what_is_no_size_is_refused_with_what_to_write(text, remedy):
    """Where the unit meant can be guessed, the right one is named."""
    with pytest.raises(ValueError, match="is not a size") as error:
        units.parse_size(text)
    assert f"; {remedy}" in str(error.value)


def test_a_size_is_a_whole_number_of_bytes():
    """A part of a byte is refused, not rounded."""
    with pytest.raises(ValueError, match=r"'0\.3KiB' is not a whole number of bytes"):
        units.parse_size("0.3KiB")


@given(st.integers(min_value=0, max_value=2**59))
def test_every_size_comes_back(size):
    """Writing and reading give the same number."""
    assert units.parse_size(units.format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "share"), [("0%", 0.0), ("5%", 0.05), ("0.1%", 0.001), ("100%", 1.0), ("250%", 2.5)]
)
def test_shares_run_from_0_to_1(text, share):
    """A percentage is a hundredth; bounds are the caller's."""
    assert units.parse_share(text) == share


@pytest.mark.parametrize("text", ["", "5", "0.05", "5 %", "-5%", "%", "5%%", "1e2%"])
def test_what_is_no_share_is_refused_with_what_to_write(text):
    """A bare number could be a share or a percentage, so it is neither."""
    with pytest.raises(ValueError, match="is not a share; write a percentage, such as 5%"):
        units.parse_share(text)


@given(st.floats(min_value=0, max_value=1))
def test_every_share_comes_back(share):
    """Writing and reading give the very same float."""
    assert units.parse_share(units.format_share(share)) == share


@pytest.mark.parametrize(("share", "text"), [(0.05, "5%"), (0.001, "0.1%"), (1.0, "100%")])
def test_shares_are_written_without_needless_digits(share, text):
    """No trailing zeros, no point without digits."""
    assert units.format_share(share) == text


@given(st.text(max_size=20))
def test_no_text_raises_anything_but_a_value_error(text):
    """Whatever the text, there is a number or the one kind of error."""
    for parse in (units.parse_duration, units.parse_size, units.parse_share):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0
