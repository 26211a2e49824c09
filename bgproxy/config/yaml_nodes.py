"""YAML text to nodes that know where they stand; no types are guessed.

PyYAML's parser makes the events, libyaml's where it is there. Building nodes from events ourselves
keeps what its own loader loses or gets wrong for a configuration: positions, both of two equal
keys, and text as it was written, where YAML 1.1 would read ``no`` as false, ``010`` as 8 and
``1:30`` as 90. Depth and the growth by aliases are bounded, so that no file can take the process
down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from bgproxy.config.yaml_syntax import character_fault, syntax_fault
from bgproxy.errors import Fault

MAX_DEPTH = 32
MAX_NODES = 200_000
"""After every alias has been replaced by what it stands for."""

_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE_KEY = "<<"
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the file; lines and columns count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class ScalarNode:
    """One value.

    Args:
        text: as the file says it, quotes and escapes resolved.
        is_plain: stands without quotes, so it may mean something else than text.
    """

    mark: Mark
    text: str
    is_plain: bool


@dataclass(slots=True)
class ListNode:
    """A sequence."""

    mark: Mark
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class MapNode:
    """A mapping; `keys` says where each key stands."""

    mark: Mark
    values: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)


Node = ScalarNode | ListNode | MapNode
Key = str | int


class YamlError(Exception):
    """The text is not YAML, or not YAML that is taken here.

    Args:
        fault: what is wrong, without the file's name.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def read_yaml(text: str) -> tuple[Node | None, list[Fault]]:
    """Build the nodes of one document.

    Args:
        text: without a byte order mark.

    Returns:
        The document's node, None when there is none; and what can be told beside it, such as keys
        that stand there twice.

    Raises:
        YamlError: when no node can be made of the text.
    """
    try:
        builder = _Builder(text)
        return builder.document(), builder.faults
    except yaml.MarkedYAMLError as error:
        raise YamlError(syntax_fault(error, text)) from None
    except yaml.reader.ReaderError as error:
        raise YamlError(character_fault(error, text)) from None


class _Builder:
    """Turns one document's events into nodes."""

    def __init__(self, text: str) -> None:
        self._loader = _Loader(text)
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0
        self.faults: list[Fault] = []

    def document(self) -> Node | None:
        """The only document's node, None for none."""
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        node = self._node(self._next(), (), 0)
        self._next()  # the document's end
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            _refuse(event, "a second document begins here", "keep one document, without '---'")
        return node

    def _next(self) -> yaml.Event:
        event: yaml.Event = self._loader.get_event()
        return event

    def _node(self, event: yaml.Event, path: tuple[Key, ...], depth: int) -> Node:
        if depth > MAX_DEPTH:
            _refuse(event, f"this is nested more than {MAX_DEPTH} deep", "nest less")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._count
        self._grow(event, 1)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            self._check_tag(event)
            is_plain = bool(event.implicit[0]) and event.tag is None
            node = ScalarNode(_mark(event), event.value, is_plain)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event)
            node = self._list(event, path, depth)
        else:
            assert isinstance(event, yaml.MappingStartEvent)  # all that is left of the grammar
            self._check_tag(event)
            node = self._map(event, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - before)
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        """What an alias stands for; an anchor is known once its node is complete: no cycles."""
        if event.anchor not in self._anchors:
            problem = f"nothing before this is named &{event.anchor}"
            _refuse(event, problem, "put text that begins with * in quotes")
        node, size = self._anchors[event.anchor]
        self._grow(event, size)
        return node

    def _grow(self, event: yaml.Event, by: int) -> None:
        self._count += by
        if self._count > MAX_NODES:
            problem = f"with this the file has more than {MAX_NODES:,} values"
            _refuse(event, problem, "split it, or use fewer aliases")

    def _list(self, event: yaml.Event, path: tuple[Key, ...], depth: int) -> ListNode:
        node = ListNode(_mark(event))
        while not isinstance(item := self._next(), yaml.SequenceEndEvent):
            node.items.append(self._node(item, (*path, len(node.items)), depth + 1))
        return node

    def _map(self, event: yaml.Event, path: tuple[Key, ...], depth: int) -> MapNode:
        node = MapNode(_mark(event))
        merged: list[MapNode] = []
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            key_node = self._node(key, path, depth + 1)
            if not isinstance(key_node, ScalarNode):
                _refuse(key, "a key must be plain text", 'write key: value, and "{…}" in quotes')
            name = key_node.text
            value = self._node(self._next(), (*path, name), depth + 1)
            if name == _MERGE_KEY and key_node.is_plain:
                merged.extend(self._merged(key, value))
            elif name in node.values:
                self._note_twice(path, name, key_node.mark, node.keys[name])
            else:
                node.values[name] = value
                node.keys[name] = key_node.mark
        for source in merged:
            for name, value in source.values.items():
                node.keys.setdefault(name, source.keys[name])
                node.values.setdefault(name, value)
        return node

    def _merged(self, key: yaml.Event, value: Node) -> Iterator[MapNode]:
        """The mappings that ``<<`` brings in, for the keys which the mapping itself lacks."""
        for source in value.items if isinstance(value, ListNode) else [value]:
            if not isinstance(source, MapNode):
                _refuse(key, "<< takes a mapping or a list of them", "write << : *name")
            yield source

    def _note_twice(self, path: tuple[Key, ...], name: str, mark: Mark, first: Mark) -> None:
        key_path = ".".join(map(str, (*path, name)))
        problem = f"stands here a second time, the first is in line {first.line}"
        self.faults.append(
            Fault(key_path, problem, "keep one of them", line=mark.line, column=mark.column)
        )

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag not in (None, "!", _TEXT_TAG):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            _refuse(event, f"the tag {tag} means nothing here", "remove it")


def _mark(event: yaml.Event) -> Mark:
    assert event.start_mark is not None  # every event that a parser makes has one
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _refuse(event: yaml.Event, problem: str, remedy: str) -> NoReturn:
    mark = _mark(event)
    raise YamlError(Fault("", problem, remedy, line=mark.line, column=mark.column))
