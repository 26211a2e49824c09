"""Variables: what is replaced, by what, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgproxy.config.variables import VariableError, substitute

ENV = {"NAME": "v42", "EMPTY": "", "REFERENCE": "${NAME}", "BAD": "a\udcff"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain $NAME $5 {x}", "plain $NAME $5 {x}"),
        ("${NAME}", "v42"),
        ("http://${NAME}.local:${NAME}", "http://v42.local:v42"),
        ("${NAME:-other}", "v42"),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b $x}", "a:-b $x"),
        ("${REFERENCE}", "${NAME}"),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("a$$b", "a$$b"),
    ],
)
def test_references_are_replaced(text, result):
    """Once: what they bring in is not looked at again."""
    assert substitute(text, ENV) == result


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("${UNSET}", "variable UNSET is not set", "set it, or write ${UNSET:-fallback}"),
        ("${BAD}", "variable BAD is not UTF-8", "UTF-8"),
        ("${1A}", "'${1A}' is no variable", "write ${NAME}"),
        ("${}", "'${}' is no variable", "write ${NAME}"),
        ("${NAME-x}", "'${NAME-x}' is no variable", "${NAME:-fallback}"),
        ("${NAME", "'${NAME' is no variable", "$${ for a plain ${"),
    ],
)
def test_other_references_are_refused_with_what_to_write(text, problem, remedy):
    """Never silently an empty text."""
    with pytest.raises(VariableError) as error:
        substitute(text, ENV)
    assert problem in error.value.problem
    assert remedy in error.value.remedy


@given(st.text(alphabet="${}:-AB", max_size=20))
def test_no_text_raises_anything_but_a_variable_error(text):
    """Whatever the text, it is replaced or refused."""
    with contextlib.suppress(VariableError):
        assert "${A}" not in substitute(text, {"A": "a", "B": ""}) or "$${A}" in text
