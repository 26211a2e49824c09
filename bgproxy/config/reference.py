"""What is written from the schema: the JSON Schema for editors and the tables of the documents.

``python -m bgproxy.config.reference`` brings both up to date in the work tree; the tests say when
that is due.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from bgproxy.config.keys import ANY_ITEM, KeyInfo, Pattern, all_keys, json_schema

SCHEMA_FILE = Path("config/bgproxy.schema.json")
DOCUMENT = Path("docs/configuration.md")

_TABLE = re.compile(r"(<!-- keys of (?P<section>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
TOP = "the-file"
"""What the document calls the section that the whole file is."""


def schema_text() -> str:
    """The JSON Schema, as it stands in its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def section_name(section: Pattern) -> str:
    """A section as the document names it, such as ``services.*.verify.checks[]``."""
    return ".".join(section).replace(f".{ANY_ITEM}", ANY_ITEM) or TOP


def sections() -> dict[str, dict[str, KeyInfo]]:
    """The keys of every section, both by name."""
    found: dict[str, dict[str, KeyInfo]] = {}
    for pattern, info in all_keys().items():
        found.setdefault(section_name(pattern[:-1]), {})[pattern[-1]] = info
    return found


def with_tables(document: str) -> str:
    """A document with every table between its markers brought up to date.

    Raises:
        KeyError: a marker names a section that there is not.
    """
    known = sections()
    return _TABLE.sub(lambda m: f"{m[1]}{_table(known[m['section']])}{m[3]}", document)


def _table(keys: dict[str, KeyInfo]) -> str:
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    lines += [
        f"| `{name}` | {_default(info)} | {info.description} |" for name, info in keys.items()
    ]
    return "\n".join(lines) + "\n"


def _default(info: KeyInfo) -> str:
    if info.is_required:
        return "*required*"
    if info.is_section and info.default is None:
        return "see below"
    return f"`{_plain(info.default)}`"


def _plain(value: object) -> str:
    """A default as one would write it in YAML: without quotes where none are needed."""
    is_word = isinstance(value, str) and re.fullmatch(r"[\w./:%-]+", value)
    return str(value) if is_word else json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Write what is out of date."""
    for file, text in (
        (SCHEMA_FILE, schema_text()),
        (DOCUMENT, with_tables(DOCUMENT.read_text("utf-8"))),
    ):
        file.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
