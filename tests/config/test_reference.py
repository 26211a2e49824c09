"""Documents, examples and the JSON Schema are those of the code."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from bgproxy.config import reference
from bgproxy.config.keys import ANY_ITEM, ANY_NAME, all_keys, json_schema
from bgproxy.config.load import load_config
from bgproxy.config.readers import Scalar
from bgproxy.config.yaml_nodes import ListNode, MapNode, read_yaml
from bgproxy.domain.hooks import Moment
from tests.config.files import SERVICE, faults
from tests.config.test_service_schema import EVERY_KEY

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "bgproxy.yaml"
MINIMAL = ROOT / "config" / "minimal.yaml"


def data(text):
    """A file as an editor's YAML 1.2 parser sees it."""
    return _plain(read_yaml(text)[0])


def _plain(node):
    if isinstance(node, MapNode):
        return {name: _plain(item) for name, item in node.values.items()}
    if isinstance(node, ListNode):
        return [_plain(item) for item in node.items]
    return Scalar(node.text, node.is_plain).value


def test_the_schema_file_is_up_to_date():
    """`python -m bgproxy.config.reference` writes it."""
    assert json.loads((ROOT / reference.SCHEMA_FILE).read_text()) == json_schema()


def test_the_document_is_up_to_date():
    """The same command writes its tables."""
    document = (ROOT / reference.DOCUMENT).read_text()
    assert reference.with_tables(document) == document


def test_every_key_is_documented():
    """Every section has its table; the two environments share one, and so do all calls."""
    document = (ROOT / reference.DOCUMENT).read_text()
    known = reference.sections()
    calls = {name for name in known if name.startswith("services.*.hooks.")}
    assert len(calls) == len(Moment)
    assert all(known[name] == known["services.*.verify.calls[]"] for name in calls)
    sections = set(known) - {"services.*.environments.green"} - calls
    assert {name for name in sections if f"<!-- keys of {name} -->" not in document} == set()


def test_a_table_shows_keys_defaults_and_meanings():
    """As one would write them."""
    table = reference.with_tables("<!-- keys of services.* -->\nOUTDATED\n<!-- end -->")
    assert "OUTDATED" not in table
    assert '| `hosts` | `["*"]` | Host names' in table
    assert "| `environments` | *required* | Blue and green. |" in table
    assert "| `drain` | see below |" in table
    with pytest.raises(KeyError):
        reference.with_tables("<!-- keys of nonsense -->\n<!-- end -->")


def test_the_command_writes_both(tmp_path, monkeypatch):
    """Below the working directory."""
    monkeypatch.chdir(tmp_path)
    for file in (reference.SCHEMA_FILE, reference.DOCUMENT):
        file.parent.mkdir()
    reference.DOCUMENT.write_text("<!-- keys of proxy -->\n<!-- end -->\n")
    reference.main()
    assert json.loads(reference.SCHEMA_FILE.read_text()) == json_schema()
    assert "| `workers` | `auto` |" in reference.DOCUMENT.read_text()


def test_the_example_has_every_default():
    """It means what the minimal file means, and nothing in it is worth a warning."""
    assert load_config(EXAMPLE, {}) == load_config(MINIMAL, {})
    assert load_config(EXAMPLE, {}).warnings == ()


def test_the_example_has_every_key():
    """Written out; those of items, of which there are none by default, in a comment."""
    text = EXAMPLE.read_text()
    root, _ = read_yaml(text)

    def has(pattern):
        node = root
        for part in pattern:
            if part == ANY_ITEM or pattern[:2] == ("admin", "tls"):  # a section without a default
                return f"{pattern[-1]}:" in text
            name = "default" if part == ANY_NAME else part
            if not isinstance(node, MapNode) or name not in node.values:
                return False
            node = node.values[name]
        return True

    missing = [pattern for pattern in all_keys() if not has(pattern)]
    assert missing == []


@pytest.mark.parametrize("path", [EXAMPLE, MINIMAL])
def test_editors_find_the_schema_of_an_example_and_nothing_wrong_with_it(path):
    """The first line names it."""
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=bgproxy.schema.json\n")
    assert (path.parent / "bgproxy.schema.json").exists()
    jsonschema.validate(data(text), json_schema())


def test_editors_find_nothing_wrong_with_what_can_be_loaded():
    """The schema is not stricter than the program."""
    jsonschema.validate(data(EVERY_KEY), json_schema())


@pytest.mark.parametrize(
    "line", ["  timouts: {}", "  active: red", "  drain: {timeout: 5}", "  hosts: []"]
)
def test_editors_find_what_cannot_be_loaded(line):
    """Where a schema can say it."""
    text = f"{SERVICE}  {line}\n"
    assert faults(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data(text), json_schema())
