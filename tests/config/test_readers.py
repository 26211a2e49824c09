"""Readers of plain values: what each takes, what it refuses and with which words."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from bgproxy.config.readers import (
    Choice,
    Decimal,
    Duration,
    Number,
    Scalar,
    Share,
    Size,
    Text,
    did_you_mean,
    one_of,
    read_or_refuse,
)
from bgproxy.domain.model import Color


def refusal(reader, text):
    """Problem and remedy."""
    with pytest.raises(PydanticCustomError) as error:
        reader.read(text)
    assert error.value.context is not None
    return error.value.context["problem"], error.value.context["remedy"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-12", -12),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("no", "no"),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_values_of_any_type_are_typed_as_in_yaml_1_2(text, value):
    """What YAML 1.1 would guess stays text, and so does what no number could hold."""
    assert Scalar(text).value == value
    assert type(Scalar(text).value) is type(value)
    assert Scalar(text, is_plain=False).value == text


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (Text(), "v42", "v42"),
        (Text(), "1.10", "1.10"),
        (Text(), "true", "true"),
        (Text(is_multiline=True), "a\n\tb", "a\n\tb"),
        (Number(), "0", 0),
        (Number(least=-5), "-5", -5),
        (Number(words=(("auto", 0),)), "auto", 0),
        (Decimal(1, 100), "1.1", 1.1),
        (Duration(), "0", 0.0),
        (Duration(least=1), "1s", 1.0),
        (Size(), "64KiB", 65536),
        (Share(), "100%", 1.0),
        (Choice(Color), "green", Color.GREEN),
        (Choice(("off", "on")), "off", "off"),
    ],
)
def test_each_kind_reads_its_own(reader, text, value):
    """The value has the type that the domain wants."""
    assert reader.read(text) == value
    assert type(reader.read(text)) is type(value)


@pytest.mark.parametrize(
    ("reader", "text", "problem", "remedy"),
    [
        (Text(most=3), "four", "is 4 characters long", "write at most 3"),
        (Text(least=1), "", "is empty", "write at least one character"),
        (Text(), "a\nb", "has the control character U+000A in it", "write one plain line"),
        (Text(), "a\x7f", "has the control character U+007F in it", "write one plain line"),
        (Number(), "010", "'010' is not a whole number", "a whole number of at least 0"),
        (Number(), "1.0", "'1.0' is not a whole number", "a whole number of at least 0"),
        (Number(), "9" * 5000, "is not a whole number", "a whole number of at least 0"),
        (Number(least=1, most=64), "65", "65 is out of range", "from 1 to 64"),
        (Number(least=1, words=(("auto", 0),)), "0", "0 is out of range", "auto, or a whole"),
        (Decimal(1, 100), "3x", "'3x' is not a number", "write a number from 1 to 100"),
        (Decimal(1, 100), "0.5", "0.5 is out of range", "write a number from 1 to 100"),
        (Duration(), "30", "'30' is not a duration", "write a number and its unit"),
        (Duration(least=0.001), "0", "0 is out of range", "from 1ms to"),
        (Duration(most=60), "2m", "2m is out of range", "from 0s to 1m"),
        (Size(), "64KB", "'64KB' is not a size", "write 64KiB"),
        (Size(least=1024, most=2048), "1", "1 is out of range", "from 1KiB to 2KiB"),
        (Share(), "0.05", "'0.05' is not a share", "write a percentage"),
        (Share(), "101%", "101% is out of range", "from 0% to 100%"),
        (Choice(Color), "red", "'red' is not known here", "write blue or green"),
        (Choice(Color), "gren", "'gren' is not known here", "did you mean green?"),
    ],
)
def test_each_kind_refuses_the_rest_with_what_to_write(reader, text, problem, remedy):
    """Problem and remedy are parted, so that faults can be shown in other forms."""
    said = refusal(reader, text)
    assert problem in said[0]
    assert remedy in said[1]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "a list stands where one value belongs"),
        ({}, "a mapping stands where one value belongs"),
        (Scalar(""), "the value is missing"),
        (Scalar("null"), "the value is missing"),
    ],
)
def test_what_is_not_one_value_is_refused(given, problem):
    """A list, a mapping, or nothing: each reader says what it takes instead."""
    with pytest.raises(ValidationError, match=f"{problem}; write a whole number"):
        TypeAdapter(Annotated[int, Number()]).validate_python(given)


def test_a_quoted_empty_text_is_a_value():
    """Only what stands there without quotes can mean that there is none."""
    assert TypeAdapter(Annotated[str, Text()]).validate_python(Scalar("", is_plain=False)) == ""


@pytest.mark.parametrize(
    ("reader", "value", "shown"),
    [
        (Text(), "x", "x"),
        (Number(words=(("auto", 0),)), 0, "auto"),
        (Number(words=(("auto", 0),)), 4, 4),
        (Decimal(1, 100), 3.0, 3),
        (Decimal(1, 100), 1.5, 1.5),
        (Duration(), 60.0, "1m"),
        (Size(), 8192, "8KiB"),
        (Size(), 0, 0),
        (Share(), 0.05, "5%"),
        (Choice(Color), Color.BLUE, "blue"),
    ],
)
def test_defaults_are_shown_as_one_would_write_them(reader, value, shown):
    """And read back as the same value."""
    assert reader.show(value) == shown
    assert reader.read(str(shown)) == value


def test_choices_are_named_as_in_a_sentence():
    """Commas, and an or before the last."""
    assert one_of(["a"]) == "a"
    assert one_of(["a", "b", "c"]) == "a, b or c"
    assert did_you_mean("intervall", ["interval", "timeout"]) == "; did you mean interval?"
    assert did_you_mean("zebra", ["interval", "timeout"]) == ""


def test_an_error_of_one_part_is_the_problem():
    """Without a semicolon there is no remedy of its own."""

    def fail(text):
        raise ValueError(f"{text} fails")

    with pytest.raises(PydanticCustomError, match="x fails; x fails"):
        read_or_refuse(fail, "x")
