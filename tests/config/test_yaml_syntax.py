"""Syntax errors as people make them, told with what to do."""

from __future__ import annotations

import pytest
import yaml

from bgproxy.config.yaml_nodes import YamlError, read_yaml
from bgproxy.config.yaml_syntax import syntax_fault


@pytest.mark.parametrize(
    ("text", "line", "column", "problem", "remedy"),
    [
        ("p:\n  listen: [::1]:80\n", 2, 12, "no value can begin", "begins with [ in quotes"),
        ("p: [[::1]:80]\n", 1, 6, "no value can begin", "begins with [ in quotes"),
        ("hosts: [*]\n", 1, 9, "need a name", "begins with * in quotes"),
        ("hosts: *.example.com\n", 1, 8, "need a name", "begins with * in quotes"),
        ("a: &\n", 1, 4, "need a name", "special character in quotes"),
        ("a:\n\tb: 1\n", 2, 1, "begin with this character", "spaces, not with tabs"),
        ("a: @b\n", 1, 4, "begin with this character", "special character in quotes"),
        ("a: 'b\nc: 1\n", 1, 4, "closing quote is missing", "close the quotes"),
        ('a: "\\q"\n', 1, 4, "escape is not known", "write \\\\ for a backslash"),
        ("a: b: c\n", 1, 5, "a key with a value cannot stand here", "': ' in it in quotes"),
        ("a:\n  b: 1\n    c: 2\n", 3, 6, "cannot stand here", "align the keys"),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "a key was expected here", "the same indentation"),
        ("- a\nb: 1\n", 2, 1, "a '-' was expected here", "the same indentation"),
        ("a: 1\nb", 3, 1, "a ':' is missing", "write key: value"),
        ("a: 1\nb\n", 3, 1, "a ':' is missing", "write key: value"),
        ("x: 1\na: [1\nb: 2\n", 3, 2, "the list that begins in line 2", "close the ["),
        ("a: {x: 1\nb: 2\n", 2, 2, "the { of line 1 is not closed", "close the {"),
        ("a: {x: ${B}}\n", 1, 9, "is not closed", 'put "${NAME}" in quotes'),
        ("%YAML 9.9\n---\na: 1\n", 1, 1, "version of YAML is not known", "remove the line"),
        ("%FOO bar\n---\na: 1\n", 1, 1, "directive is not known", "remove the line"),
        ("a: !x!y 3\n", 1, 4, "this tag is not known", "remove the tag"),
    ],
)
def test_a_syntax_error_says_where_what_and_what_to_do(text, line, column, problem, remedy):
    """The place is the one to look at, not the one where the parser gave up."""
    with pytest.raises(YamlError) as error:
        read_yaml(text)
    fault = error.value.fault
    assert (fault.line, fault.column) == (line, column)
    assert problem in fault.problem
    assert remedy in fault.remedy


def test_what_the_parser_says_stands_for_itself_where_there_is_no_wording():
    """Another parser's words are better than none, also without a place."""
    fault = syntax_fault(yaml.MarkedYAMLError(problem="something new"), "text")
    assert (fault.line, fault.column, fault.problem) == (1, 1, "something new")
    assert fault.remedy
