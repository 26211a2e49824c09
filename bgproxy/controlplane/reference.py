"""What is written from the API's description: the page on its documents.

``python -m bgproxy.controlplane.reference`` brings it up to date in the work tree; a test says when
that is due.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bgproxy.controlplane.openapi import describe_api

PAGE = Path("docs/api-documents.md")

_HEAD = """\
# Documents of the API

What is sent to the [admin API](api.md) and what it answers, key by key. Requests take no key that
is not named here; answers may have more, and keep those that are. Times are RFC 3339 in UTC. A
running proxy tells the same to machines, at `/openapi.json`.
"""

_REF = "#/components/schemas/"


def page_text() -> str:
    """The whole page."""
    schemas: dict[str, Any] = describe_api([])["components"]["schemas"]
    sent = sorted(name for name in schemas if name.endswith("Request"))
    answered = sorted(name for name in schemas if not name.endswith("Request"))
    parts = [_HEAD]
    for title, names in (("What is sent", sent), ("What is answered", answered)):
        parts.append(f"## {title}\n")
        parts += [_section(name, schemas[name]) for name in names]
    return "\n".join(parts)


def _section(name: str, schema: dict[str, Any]) -> str:
    """One document: what it is, and a line for each key."""
    lines = [f"### {name}", "", " ".join(schema.get("description", "").split()), ""]
    keys: dict[str, Any] = schema.get("properties", {})
    if keys:
        lines += ["| key | type | meaning |", "| --- | --- | --- |"]
        required = set(schema.get("required", ())) if name.endswith("Request") else set()
        lines += [_row(key, keys[key], is_required=key in required) for key in keys]
        lines.append("")
    return "\n".join(lines)


def _row(key: str, schema: dict[str, Any], *, is_required: bool) -> str:
    notes = [schema.get("description", "")]
    if is_required:
        notes.append("Required.")
    if schema.get("default") not in (None, "", [], {}):
        notes.append(f"`{json.dumps(schema['default'])}` if left out.")
    return f"| `{key}` | {_kind(schema)} | {' '.join(note for note in notes if note)} |"


def _kind(schema: dict[str, Any]) -> str:
    """The type of a value in a few words, with a link where it is a document of its own."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if schema.get("format") == "date-time":
        return "time"
    names = {
        "integer": "whole number",
        "object": "mapping",
        "string": "text",
        "boolean": "`true` or `false`",
    }
    kind = str(schema.get("type", "anything"))
    return names.get(kind, kind)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_text(), "utf-8")


if __name__ == "__main__":
    main()
