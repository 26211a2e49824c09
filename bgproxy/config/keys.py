"""Every key there is, by its path: for hints about wrong ones, for editors and for documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from bgproxy.config.schema import FileSection

ANY_NAME = "*"
ANY_ITEM = "[]"

Pattern = tuple[str, ...]
"""A key's path, with `ANY_NAME` for a name of the user's and `ANY_ITEM` for a place in a list."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known about one key.

    Args:
        default: as it would stand in JSON; None where the key is required or a section.
        is_section: whether it has keys of its own.
    """

    description: str
    default: Any
    is_required: bool
    is_section: bool


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "bgproxy configuration",
        **FileSection.model_json_schema(schema_generator=_WithoutTitles),
    }


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out titles that only repeat the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def all_keys() -> dict[Pattern, KeyInfo]:
    """Every key by its pattern, in the order of the schema."""
    schema = json_schema()
    return dict(_walk(schema, schema["$defs"], ()))


def _walk(
    shape: dict[str, Any], definitions: dict[str, Any], prefix: Pattern
) -> Iterator[tuple[Pattern, KeyInfo]]:
    for name, given in shape.get("properties", {}).items():
        step, inner = _inner(given, definitions)
        yield (
            (*prefix, name),
            KeyInfo(
                given.get("description") or inner.get("description", ""),
                given.get("default"),
                name in shape.get("required", ()),
                "properties" in inner,
            ),
        )
        yield from _walk(inner, definitions, (*prefix, name, *step))


def _inner(given: dict[str, Any], definitions: dict[str, Any]) -> tuple[Pattern, dict[str, Any]]:
    """The section that a key leads to, and the step to it."""
    shapes = (given, *given.get("anyOf", ()))
    for part, step in (("items", ANY_ITEM), ("additionalProperties", ANY_NAME)):
        for shape in shapes:
            if isinstance(shape.get(part), dict):
                return (step,), _inner(shape[part], definitions)[1]
    for shape in shapes:
        if "$ref" in shape:
            return (), definitions[shape["$ref"].rpartition("/")[2]]
    return (), {}


def pattern_of(path: tuple[str | int, ...]) -> Pattern:
    """The pattern that a key's path in a file follows."""
    keys = all_keys()
    pattern: Pattern = ()
    for part in path:
        if isinstance(part, int):
            pattern = (*pattern, ANY_ITEM)
        elif (*pattern, part) in keys:
            pattern = (*pattern, part)
        else:
            pattern = (*pattern, ANY_NAME)
    return pattern


def keys_of(section: Pattern) -> list[str]:
    """The keys of one section."""
    return [pattern[-1] for pattern in all_keys() if pattern[:-1] == section]
