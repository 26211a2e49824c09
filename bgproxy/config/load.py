"""Reads a configuration file: all that is wrong with it is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bgproxy.config.checks import check
from bgproxy.config.faults import explain, fault_at
from bgproxy.config.readers import Scalar
from bgproxy.config.schema import FileSection
from bgproxy.config.settings import Settings
from bgproxy.config.tls_files import Copies, read_tls_files
from bgproxy.config.token_file import read_token_file
from bgproxy.config.variables import VariableError, substitute
from bgproxy.config.yaml_nodes import ListNode, MapNode, Node, ScalarNode, YamlError, read_yaml
from bgproxy.errors import ConfigError, Fault

MAX_BYTES = 4 * 1024 * 1024

_MINIMAL = (
    "services: {default: {environments: {blue: {backends: [URL]}, green: {backends: [URL]}}}}"
)


def load_config(path: Path, env: Mapping[str, str], *, uses_copies: bool = False) -> Settings:
    """Read and check a configuration file, and the files of certificates that it names.

    Args:
        path: the file; relative paths in it are relative to the working directory, not to it.
        env: the process environment, for ``${NAME}``.
        uses_copies: where there is a state already, a bad file of certificates is no fault: its
            last good content serves, and `Settings.degraded` tells.

    Raises:
        ConfigError: with every fault that could be found. Nothing else is raised, whatever the
            file holds.
    """
    try:
        return _load(path, env, uses_copies=uses_copies)
    except ConfigError as error:
        once: dict[tuple[int, int, str], Fault] = {}
        for fault in sorted(error.faults, key=lambda fault: (fault.line, fault.column)):
            # What an alias stands for is read in several places, but wrong in one.
            once.setdefault((fault.line, fault.column, fault.problem), fault)
        raise ConfigError([replace(fault, file=str(path)) for fault in once.values()]) from None


def _load(path: Path, env: Mapping[str, str], *, uses_copies: bool) -> Settings:
    try:
        root, faults = read_yaml(_read_text(path))
    except YamlError as error:
        raise ConfigError([error.fault]) from None
    if root is None:
        raise ConfigError([Fault("", "the file is empty", f"write at least {_MINIMAL}")])
    given = _Given(env, faults)
    data = given.of(root, ())
    try:
        file = FileSection.model_validate(data)
    except ValidationError as error:
        told = {(fault.line, fault.column) for fault in faults}
        further = (f for f in explain(error, root) if (f.line, f.column) not in told)
        raise ConfigError([*faults, *further]) from None
    settings, bad_tokens = read_token_file(file.build())
    found, warnings = check(settings, root)
    is_later_start = uses_copies and settings.state.exists()
    files = read_tls_files(settings, Copies.load(settings.state) if is_later_start else None)
    found += [fault_at(root, *finding) for finding in (*bad_tokens, *files.faults)]
    warnings += [fault_at(root, *finding) for finding in files.warnings]
    if faults or found:
        raise ConfigError([*faults, *found])
    settings = files.settings
    return replace(settings, warnings=tuple(replace(w, file=str(path)) for w in warnings))


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _whole("there is no such file", "name one with -c FILE") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _whole(f"cannot be read: {reason}", "name a file that can") from None
    if len(data) > MAX_BYTES:
        raise _whole(f"is larger than {MAX_BYTES // 1024**2} MiB", "name a configuration file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        fault = Fault(
            "",
            f"the byte 0x{data[error.start]:02x} is not UTF-8",
            "save the file as UTF-8",
            line=line,
            column=column,
        )
        raise ConfigError([fault]) from None


def _whole(problem: str, remedy: str) -> ConfigError:
    """What is wrong with the file itself."""
    return ConfigError([Fault("", problem, remedy)])


class _Given:
    """Makes of nodes what the schema is given, with variables replaced."""

    def __init__(self, env: Mapping[str, str], faults: list[Fault]) -> None:
        self._env = env
        self._faults = faults

    def of(self, node: Node, path: tuple[str | int, ...]) -> Any:
        """Mappings, lists and `Scalar` values."""
        if isinstance(node, MapNode):
            return {name: self.of(item, (*path, name)) for name, item in node.values.items()}
        if isinstance(node, ListNode):
            return [self.of(item, (*path, index)) for index, item in enumerate(node.items)]
        return self._scalar(node, path)

    def _scalar(self, node: ScalarNode, path: tuple[str | int, ...]) -> Scalar:
        try:
            return Scalar(substitute(node.text, self._env), node.is_plain)
        except VariableError as error:
            mark, key = node.mark, ".".join(map(str, path))
            self._faults.append(
                Fault(key, error.problem, error.remedy, line=mark.line, column=mark.column)
            )
            return Scalar("")
