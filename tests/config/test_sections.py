"""What the schema is made of: keys, lists and mappings, their defaults and descriptions."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from bgproxy.config.readers import Duration, Number, Scalar, Text
from bgproxy.config.sections import AnyValue, Many, Pairs, Section, key


class Example(Section):
    """A section for these tests."""

    wait: Annotated[float, Duration()] = key(90.0, "How long.")
    size_bytes: Annotated[int, Number()] = key(..., "How much.", name="size")
    ports: Annotated[tuple[int, ...], Many(Number(), takes_one=True, least=1)] = key(
        (80,), "Where."
    )
    labels: Annotated[tuple[tuple[str, str], ...], Pairs(Text(least=1), Text())] = key(
        (("a", "b"),), "What."
    )


def given(**values):
    """An example as a file would have it."""
    return Example.model_validate({"size": Scalar("1"), **values})


def test_fields_are_named_as_in_the_value_and_keys_as_in_the_file():
    """So that a section can hand its values over as they are."""
    assert given().values() == {
        "wait": 90.0,
        "size_bytes": 1,
        "ports": (80,),
        "labels": (("a", "b"),),
    }
    with pytest.raises(ValidationError, match="size_bytes"):
        given(size_bytes=Scalar("1"))


def test_one_value_may_stand_for_a_list_where_that_is_said():
    """And a list for itself."""
    assert given(ports=Scalar("1")).ports == (1,)
    assert given(ports=[Scalar("1"), Scalar("2")]).ports == (1, 2)


@pytest.mark.parametrize(
    ("ports", "problem"),
    [
        ([], "the list is empty; write at least 1 in it"),
        (Scalar(""), "the value is missing; write a list"),
        ({"a": Scalar("1")}, "a mapping stands where one value belongs"),
        ([Scalar("1"), Scalar("x")], "ports.1\n  'x' is not a whole number"),
    ],
)
def test_a_list_is_refused_by_its_first_wrong_part(ports, problem):
    """An item is named by its place."""
    with pytest.raises(ValidationError) as error:
        given(ports=ports)
    assert problem in str(error.value)


def test_pairs_keep_the_files_order():
    """And become what the domain's values hold."""
    assert given(labels={"z": Scalar("1"), "a": Scalar("2")}).labels == (("z", "1"), ("a", "2"))
    with pytest.raises(ValidationError, match="is empty"):
        given(labels={"": Scalar("1")})


def test_editors_see_defaults_as_one_would_write_them():
    """Durations with their unit, a list of one as its only value."""
    shape = Example.model_json_schema()
    assert "title" not in shape
    assert shape["required"] == ["size"]
    assert shape["additionalProperties"] is False
    defaults = {name: described.get("default") for name, described in shape["properties"].items()}
    assert defaults == {"wait": "90s", "size": None, "ports": 80, "labels": {"a": "b"}}


def test_any_value_is_typed_where_the_schema_does_not_know():
    """Down to the last item of nested lists and mappings."""
    adapter: TypeAdapter[object] = TypeAdapter(Annotated[object, AnyValue()])
    nested = {"a": [Scalar("1"), Scalar("1", is_plain=False)], "b": {"c": Scalar("~")}}
    assert adapter.validate_python(nested) == {"a": [1, "1"], "b": {"c": None}}
    assert AnyValue().read("true") is True
    assert adapter.json_schema() == {}
