"""YAML to nodes: positions, bounds, and nothing guessed."""

from __future__ import annotations

import pytest
import yaml

from bgproxy.config import yaml_nodes
from bgproxy.config.yaml_nodes import ListNode, MapNode, Mark, ScalarNode, YamlError, read_yaml


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def loader(request, monkeypatch):
    """Both parsers that PyYAML may have."""
    if request.param == "python":
        monkeypatch.setattr(yaml_nodes, "_Loader", yaml.SafeLoader)


def root(text):
    """The node of a text in which nothing is wrong."""
    node, faults = read_yaml(text)
    assert not faults
    return node


def refusal(text):
    """The fault for which no node can be made."""
    with pytest.raises(YamlError) as error:
        read_yaml(text)
    return error.value.fault


def test_values_keep_their_text_and_place():
    """What YAML 1.1 readers would turn into something else stays as written."""
    node = root("a: no\nb:\n  - 010\n  - '1:30'\n  - 2024-01-01\n")
    assert node == MapNode(
        Mark(1, 1),
        {
            "a": ScalarNode(Mark(1, 4), "no", True),
            "b": ListNode(
                Mark(3, 3),
                [
                    ScalarNode(Mark(3, 5), "010", True),
                    ScalarNode(Mark(4, 5), "1:30", False),
                    ScalarNode(Mark(5, 5), "2024-01-01", True),
                ],
            ),
        },
        {"a": Mark(1, 1), "b": Mark(2, 1)},
    )


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n# nothing\n"])
def test_a_file_without_a_value_is_told_from_one_with(text):
    """No document, or one that says nothing."""
    node, _ = read_yaml(text)
    assert node is None or (isinstance(node, ScalarNode) and node.text == "")


def test_a_key_that_stands_there_twice_is_told_and_the_first_counts():
    """Each further one with its own place and the first one's line."""
    node, faults = read_yaml("a: {b: 1, c: 2}\nd:\n  - {b: 1, b: 2}\na: 3\n")
    assert isinstance(node, MapNode)
    assert isinstance(node.values["a"], MapNode)
    assert [(f.path, f.line, f.column) for f in faults] == [("d.0.b", 3, 12), ("a", 4, 1)]
    assert "the first is in line 1" in faults[1].problem


def test_an_alias_is_the_node_it_names():
    """Its place is that of what was written out."""
    node = root("a: &x {b: 1}\nc: *x\n")
    assert node.values["c"] is node.values["a"]


def test_merged_keys_yield_to_the_mappings_own_and_to_earlier_ones():
    """As in other YAML readers, wherever in the mapping the << stands."""
    node = root("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  a: 0\n  <<: [*x, *y]\n")
    merged = {name: item.text for name, item in node.values["z"].values.items()}
    assert merged == {"a": "0", "b": "1", "c": "2"}


def test_a_quoted_merge_key_is_a_key():
    """Only the plain << merges."""
    assert "<<" in root('"<<": 1\n').values


@pytest.mark.parametrize(
    ("text", "line", "column", "problem", "remedy"),
    [
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document begins here", "keep one document"),
        ("a: *x\n", 1, 4, "nothing before this is named &x", "begins with * in quotes"),
        ("a: &x [*x]\n", 1, 8, "nothing before this is named &x", "in quotes"),
        ("? [1]\n: 2\n", 1, 3, "a key must be plain text", "write key: value"),
        ("a: !!int 3\n", 1, 4, "the tag !!int means nothing here", "remove it"),
        ("a: !Ref 3\n", 1, 4, "the tag !Ref means nothing here", "remove it"),
        ("<<: 1\n", 1, 1, "<< takes a mapping or a list of them", "*name"),
        ("a: 1\nb: \x01\n", 2, 4, "the character U+0001 is not allowed in YAML", "remove it"),
    ],
)
def test_what_makes_no_nodes_is_refused_at_its_place(text, line, column, problem, remedy):
    """The first such thing ends the reading."""
    fault = refusal(text)
    assert (fault.line, fault.column) == (line, column)
    assert problem in fault.problem
    assert remedy in fault.remedy


def test_a_text_tag_is_taken():
    """`!!str` only says what every value is here."""
    assert root("a: !!str 80\n").values["a"].text == "80"


def test_depth_is_bounded():
    """Far above what a configuration needs, far below what would exhaust a stack."""
    deepest = yaml_nodes.MAX_DEPTH
    root("[" * deepest + "1" + "]" * deepest)
    assert "nested more than" in refusal("[" * (deepest + 1) + "1" + "]" * (deepest + 1)).problem
    assert "nested" in refusal("[" * 100_000).problem


def test_growth_by_aliases_is_bounded():
    """A few lines that stand for 10^9 values are refused before they are."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    fault = refusal("\n".join(lines))
    assert "more than 200,000 values" in fault.problem
    assert fault.line == 6
