"""What pydantic says about a file, as faults with a place, a path and a remedy.

Every kind of error that the schema can cause has its wording here; readers bring their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from bgproxy.config.keys import all_keys, keys_of, pattern_of
from bgproxy.config.readers import did_you_mean, one_of
from bgproxy.config.yaml_nodes import ListNode, MapNode, Mark, Node, ScalarNode
from bgproxy.errors import Fault

Path = tuple[str | int, ...]

_KEY_OF_MAPPING = "[key]"
_MOST_PLACES = 3
"""Named where a key belongs elsewhere; more would be no hint any more."""

_EXAMPLES = {
    "services": "write services: with a service such as default: below it",
    "environments": "write environments: with blue: and green: below it",
    "blue": 'write blue: {backends: ["http://127.0.0.1:9001"]}',
    "green": 'write green: {backends: ["http://127.0.0.1:9002"]}',
    "backends": 'write backends: ["http://127.0.0.1:9001"]',
    "token": 'write token: "${NAME}"',
}


def explain(error: ValidationError, root: Node) -> list[Fault]:
    """Make faults of a validation error.

    Args:
        root: the nodes of what was validated.

    Returns:
        One for each thing that is wrong, without the file's name.
    """
    faults = []
    for item in error.errors(include_url=False, include_input=False):
        path = tuple(item["loc"])
        facts = item.get("ctx", {})
        problem, remedy = _words(item["type"], path, facts)
        if facts.get("key"):
            path = (*path, *(int(k) if k.isdecimal() else k for k in facts["key"].split(".")))
        is_about_key = item["type"] == "extra_forbidden" or path[-1:] == (_KEY_OF_MAPPING,)
        faults.append(fault_at(root, path, problem, remedy, at_key=is_about_key))
    return faults


def fault_at(
    root: Node, path: Sequence[str | int], problem: str, remedy: str, *, at_key: bool = False
) -> Fault:
    """Make a fault for the value of a path, or for its key; without the file's name.

    A path that leads further than the file does is placed where the file ends.
    """
    path = tuple(part for part in path if part != _KEY_OF_MAPPING)
    mark = root.mark
    node: Node | None = root
    shown: list[str] = []
    for index, part in enumerate(path):
        is_last = index == len(path) - 1
        step = _step(node, part)
        if step is not None:
            node, key_mark = step
            mark = key_mark if at_key and is_last else node.mark
        elif isinstance(node, ListNode | MapNode):
            node = None
        elif isinstance(node, ScalarNode) or isinstance(part, int):
            continue  # one value stands for a list or a mapping, or a default does
        shown.append(str(part))
    return Fault(".".join(shown), problem, remedy, line=mark.line, column=mark.column)


def _step(node: Node | None, part: str | int) -> tuple[Node, Mark] | None:
    """The node one step further and its key's place, where the file has it."""
    if isinstance(node, MapNode) and part in node.values:
        name = str(part)
        return node.values[name], node.keys[name]
    if isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
        return node.items[part], node.items[part].mark
    return None


def _words(kind: str, path: Path, facts: dict[str, Any]) -> tuple[str, str]:
    """Problem and remedy."""
    if kind == "fault":
        return facts["problem"], facts["remedy"]
    if kind == "missing":
        return "this key is missing", _EXAMPLES.get(str(path[-1]), f"write {path[-1]}: …")
    if kind == "extra_forbidden":
        return "this key is not known", _known_instead(path)
    if kind in ("model_type", "dict_type"):
        if not path:
            return "the file is not a mapping of keys", "write services: and the like"
        return "a mapping belongs here", "write its keys below it, or remove the key"
    if kind == "tuple_type":
        return "a list belongs here", "write [ ] around the values, or each behind a -"
    if kind == "too_short":
        return "there is nothing in it", "name at least one"
    assert kind == "too_long", kind  # whatever else the schema may come to cause belongs above
    return "there are too many of them", f"at most {facts['max_length']} can be"


def _known_instead(path: Path) -> str:
    """What may have been meant by a key that is not known."""
    name, section = str(path[-1]), pattern_of(path[:-1])
    known = keys_of(section)
    hint = did_you_mean(name, known).removeprefix("; ")
    elsewhere = [".".join(pattern[:-1]) for pattern in all_keys() if pattern[-1] == name]
    if elsewhere:
        places = one_of(place or "the top" for place in elsewhere[:_MOST_PLACES])
        return f"it belongs to {places}" + (f", or {hint}" if hint else "")
    return hint or f"known here: {', '.join(known)}"
