"""Readers turn the text of one value into what it means: one small class for each kind.

A reader is an annotation of a section's field, `Annotated[float, Duration()]`. It reads, writes
the value back as people would (`show`, for defaults), and describes itself for editors
(`json_schema`). What the text may mean is the field's to say, not YAML's: ``release: 010`` stays
``010``, and ``rule: off`` is the word.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from bgproxy import units

MAX_SECONDS = 365 * 24 * 3600.0
_MAX_NUMBER = 2**53
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
# Bounded in length: no text makes a number of thousands of digits, or an infinite one.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """The text of one value, variables replaced.

    Args:
        is_plain: stood without quotes.
    """

    text: str
    is_plain: bool = True

    @property
    def is_null(self) -> bool:
        """Whether it says that there is no value."""
        return self.is_plain and self.text in _NULLS

    @property
    def value(self) -> object:
        """What YAML 1.2 takes it for (its core schema, without octal and hexadecimal numbers)."""
        if self.is_null:
            return None
        if self.is_plain and self.text in _TRUTH:
            return _TRUTH[self.text]
        if self.is_plain and _INTEGER.fullmatch(self.text):
            return int(self.text)
        if self.is_plain and _FLOAT.fullmatch(self.text):
            return float(self.text)
        return self.text


def refuse(problem: str, remedy: str, *, key: str = "") -> NoReturn:
    """Report a value that cannot be.

    Args:
        key: of a section's keys the one at fault, where the section itself finds out.

    Raises:
        PydanticCustomError: always; `faults` makes a fault of it.
    """
    facts = {"problem": problem, "remedy": remedy, "key": key}
    raise PydanticCustomError("fault", "{problem}; {remedy}", facts)


def read_or_refuse(read: Callable[[str], Any], text: str) -> Any:
    """Call a function whose ValueError says problem and remedy, parted by a semicolon."""
    try:
        return read(text)
    except ValueError as error:
        problem, _, remedy = str(error).rpartition("; ")
        refuse(problem or remedy, remedy)


class Reader(ABC):
    """What all readers share: how pydantic meets them."""

    what: ClassVar[str]
    """The kind of value, after "this takes"."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """Make the value, or `refuse`."""

    @abstractmethod
    def json_schema(self) -> dict[str, Any]:
        """Describe what is taken, for editors."""

    def show(self, value: Any) -> Any:
        """Write a value as it would stand in JSON."""
        return value

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read_given)

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.json_schema()

    def _read_given(self, given: object) -> Any:
        if isinstance(given, str):  # a key of a mapping
            return self.read(given)
        if not isinstance(given, Scalar):
            shape = "a list" if isinstance(given, list) else "a mapping"
            refuse(f"{shape} stands where one value belongs", f"write {self.what}")
        if given.is_null:
            refuse("the value is missing", f"write {self.what}, or remove the key")
        return self.read(given.text)


@dataclass(frozen=True, slots=True)
class Text(Reader):
    """Any text on one line.

    Args:
        most: characters.
        least: characters.
        is_multiline: line ends and tabs are taken, too.
    """

    most: int = 1000
    least: int = 0
    is_multiline: bool = False
    what: ClassVar[str] = "text"

    def read(self, text: str) -> str:
        """The text itself."""
        if len(text) > self.most:
            refuse(f"is {len(text)} characters long", f"write at most {self.most}")
        if len(text) < self.least:
            refuse("is empty", "write at least one character")
        found = None if self.is_multiline else _CONTROL.search(text)
        if found:
            refuse(f"has the control character U+{ord(found[0]):04X} in it", "write one plain line")
        return text

    def json_schema(self) -> dict[str, Any]:
        """A string; what other YAML readers take for a number or a truth value is text here."""
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class Number(Reader):
    """A whole number in decimal digits.

    Args:
        least, most: bounds, both included.
        words: words that stand for a number.
    """

    least: int = 0
    most: int = _MAX_NUMBER
    words: tuple[tuple[str, int], ...] = ()
    what: ClassVar[str] = "a whole number"

    def read(self, text: str) -> int:
        """The number; leading zeros are refused, as some readers take them for octal digits."""
        for word, number in self.words:
            if text == word:
                return number
        if not _INTEGER.fullmatch(text):
            refuse(f"{text!r} is not a whole number", f"write {self._range()}")
        if not self.least <= int(text) <= self.most:
            refuse(f"{text} is out of range", f"write {self._range()}")
        return int(text)

    def _range(self) -> str:
        words = "".join(f"{word}, or " for word, _ in self.words)
        most = f"from {self.least} to {self.most}" if self.most < _MAX_NUMBER else ""
        return f"{words}a whole number {most or f'of at least {self.least}'}"

    def json_schema(self) -> dict[str, Any]:
        """An integer, or one of the words."""
        number: dict[str, Any] = {"type": "integer", "minimum": self.least}
        if self.most < _MAX_NUMBER:
            number["maximum"] = self.most
        return with_variable(number, *({"const": word} for word, _ in self.words))

    def show(self, value: int) -> int | str:
        """The word for it, or the number."""
        return next((word for word, number in self.words if number == value), value)


@dataclass(frozen=True, slots=True)
class Decimal(Reader):
    """A number that may have decimals.

    Args:
        least, most: bounds, both included.
    """

    least: float
    most: float
    what: ClassVar[str] = "a number"

    def read(self, text: str) -> float:
        """The number."""
        if not re.fullmatch(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?", text):
            refuse(f"{text!r} is not a number", self._range())
        if not self.least <= float(text) <= self.most:
            refuse(f"{text} is out of range", self._range())
        return float(text)

    def _range(self) -> str:
        return f"write a number from {self.least:g} to {self.most:g}"

    def json_schema(self) -> dict[str, Any]:
        """A number."""
        return with_variable({"type": "number", "minimum": self.least, "maximum": self.most})

    def show(self, value: float) -> float | int:
        """Without decimals where there are none."""
        return int(value) if value == int(value) else value


@dataclass(frozen=True, slots=True)
class Duration(Reader):
    """A time, written with its unit.

    Args:
        least, most: seconds, both included.
    """

    least: float = 0.0
    most: float = MAX_SECONDS
    what: ClassVar[str] = "a duration such as 250ms, 2s, 5m or 1h"

    def read(self, text: str) -> float:
        """Seconds."""
        seconds: float = read_or_refuse(units.parse_duration, text)
        if not self.least <= seconds <= self.most:
            least, most = map(units.format_duration, (self.least, self.most))
            refuse(f"{text} is out of range", f"write a duration from {least} to {most}")
        return seconds

    def json_schema(self) -> dict[str, Any]:
        """A string with a unit, or 0."""
        pattern = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"}
        zero = () if self.least else ({"const": 0},)
        return with_variable(pattern, *zero)

    def show(self, value: float) -> str:
        """With its unit."""
        return units.format_duration(value)


@dataclass(frozen=True, slots=True)
class Size(Reader):
    """A number of bytes, with a unit or without.

    Args:
        least, most: bytes, both included.
    """

    least: int = 0
    most: int = _MAX_NUMBER
    what: ClassVar[str] = "a size such as 64KiB or 10MiB"

    def read(self, text: str) -> int:
        """Bytes."""
        size: int = read_or_refuse(units.parse_size, text)
        if not self.least <= size <= self.most:
            least, most = map(units.format_size, (self.least, self.most))
            refuse(f"{text} is out of range", f"write a size from {least} to {most}")
        return size

    def json_schema(self) -> dict[str, Any]:
        """A string with a unit, or an integer."""
        pattern = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(KiB|MiB|GiB|TiB)$"}
        return with_variable(pattern, {"type": "integer", "minimum": self.least})

    def show(self, value: int) -> str | int:
        """With its unit where it has one."""
        return units.format_size(value) if value >= 1024 else value


@dataclass(frozen=True, slots=True)
class Share(Reader):
    """A part of a whole, as a percentage.

    Args:
        least, most: 0 to 1, both included.
    """

    least: float = 0.0
    most: float = 1.0
    what: ClassVar[str] = "a share such as 5%"

    def read(self, text: str) -> float:
        """0 to 1."""
        share: float = read_or_refuse(units.parse_share, text)
        if not self.least <= share <= self.most:
            least, most = map(units.format_share, (self.least, self.most))
            refuse(f"{text} is out of range", f"write a share from {least} to {most}")
        return share

    def json_schema(self) -> dict[str, Any]:
        """A percentage."""
        return with_variable({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"})

    def show(self, value: float) -> str:
        """As a percentage."""
        return units.format_share(value)


@dataclass(frozen=True, slots=True)
class Choice(Reader):
    """One of a few words: an enumeration's members, or plain ones."""

    of: Iterable[str]
    what: ClassVar[str] = "one of the known words"

    def read(self, text: str) -> str:
        """The word, as the enumeration's member where it is one."""
        for word in self.of:
            if word == text:
                return word
        refuse(
            f"{text!r} is not known here", f"write {one_of(self.of)}{did_you_mean(text, self.of)}"
        )

    def json_schema(self) -> dict[str, Any]:
        """An enumeration."""
        return with_variable({"enum": [str(word) for word in self.of]})

    def show(self, value: str) -> str:
        """The word."""
        return str(value)


def did_you_mean(text: str, words: Iterable[str]) -> str:
    """The known word that is like a wrong one, as an end of a sentence; empty for none."""
    close = difflib.get_close_matches(text.lower(), list(map(str, words)), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def one_of(words: Iterable[str]) -> str:
    """Name the choices: ``a, b or c``."""
    *others, last = map(str, words)
    return f"{', '.join(others)} or {last}" if others else last


def with_variable(shape: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema that takes a ``${NAME}`` besides."""
    return {"anyOf": [shape, *others, {"type": "string", "pattern": r"\$\{"}]}
