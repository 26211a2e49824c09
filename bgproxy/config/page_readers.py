"""Readers of error pages: which status a page is for, and its text from the file beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from bgproxy.config.readers import Reader, Text, refuse
from bgproxy.domain.error_pages import ANY_STATUS, MAX_PAGE_BYTES

DEFAULT = "default"
_STATUSES = range(400, 600)


class PageText(NamedTuple):
    """A page's file and what is in it."""

    file: str
    html: bytes


@dataclass(frozen=True, slots=True)
class PageStatus(Reader):
    """An error's status, or the word for all others."""

    what: ClassVar[str] = f"a status from 400 to 599, or {DEFAULT}"

    def read(self, text: str) -> int:
        """The status; `ANY_STATUS` for the word."""
        if text == DEFAULT:
            return ANY_STATUS
        if not (text.isascii() and text.isdigit() and len(text) == 3 and int(text) in _STATUSES):
            refuse(f"{text!r} is not an error's status", f"write {self.what}")
        return int(text)

    def json_schema(self) -> dict[str, Any]:
        """A string, as names of keys are."""
        return {"type": "string", "pattern": f"^([45][0-9]{{2}}|{DEFAULT})$"}


@dataclass(frozen=True, slots=True)
class PageFile(Reader):
    """A file with HTML, which is read at once: workers get its text."""

    what: ClassVar[str] = "the path of a file with HTML"

    def read(self, text: str) -> PageText:
        """The text of the file; relative paths are relative to the working directory."""
        Text(least=1, most=4000).read(text)
        try:
            with Path(text).open("rb") as file:
                html = file.read(MAX_PAGE_BYTES + 1)
        except OSError as error:
            refuse(f"{text} cannot be read: {error.strerror}", "name a file that can")
        if len(html) > MAX_PAGE_BYTES:
            refuse(f"{text} is larger than {MAX_PAGE_BYTES // 1024} KiB", "make it smaller")
        try:
            html.decode()
        except UnicodeDecodeError:
            refuse(f"{text} is not UTF-8", "save it as UTF-8")
        return PageText(text, html)

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}

    def show(self, value: PageText) -> str:
        """The file's path."""
        return value.file
