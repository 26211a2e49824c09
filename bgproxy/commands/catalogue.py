"""The commands by name, each imported when it is asked for.

`bgproxy run` and `bgproxy status` need one of them; importing all takes longer than either does.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module

import click

_PLACES = {
    "run": "serve",
    "check": "serve",
    "demo": "serve",
    "simulate": "simulate.simulation",
    "status": "look",
    "switch": "change",
    "rollback": "change",
    "verify": "change",
    "lock": "permits",
    "unlock": "permits",
    "approve": "permits",
    "reject": "permits",
    "notify": "telling",
    "run-while-active": "run_while_active",
    "drill": "drill",
    "pause": "change",
    "resume": "change",
    "backends": "change",
    "maintenance": "maintenance",
    "history": "look",
    "audit": "audit",
    "diff": "look",
    "watch": "watch",
    "why": "why",
    "preview-link": "preview",
    "token": "token",
    "healthcheck": "tools",
    "completion": "tools",
    "version": "tools",
}
"""The module of each, and the function where it is not named as the command is."""


class Catalogue(MutableMapping[str, click.Command]):
    """What a `click.Group` has in place of a dictionary of its commands."""

    def __init__(self) -> None:
        self._places = dict(_PLACES)
        self._found: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._found:
            self._found[name] = _imported(name, self._places[name])
        return self._found[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places.setdefault(name, "")
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._found.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _imported(name: str, place: str) -> click.Command:
    module, _, function = place.partition(".")
    within = import_module(f"bgproxy.commands.{module}")
    command: click.Command = getattr(within, function or name.replace("-", "_"))
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    for one in (command, *inner):
        # Raw docstrings hold click's mark for "do not wrap" as two characters.
        one.help = (one.help or "").replace("\\b\n", "\b\n")
    return command
