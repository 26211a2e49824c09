"""The keys of signals: numbers that others know, and from where on they speak against a release."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import model_validator

from bgproxy.config.check_schema import Headers
from bgproxy.config.readers import Duration, Number, Reader, Text, refuse, with_variable
from bgproxy.config.sections import Section, key
from bgproxy.config.web_readers import HttpUrl
from bgproxy.domain.signals import Signal, number_of

_SIGNAL = Signal("", "", "")


class Bound(Reader):
    """A number of any size, or none."""

    what: ClassVar[str] = "a number such as 0.05"

    def read(self, text: str) -> float | None:
        """The number."""
        number = number_of(text)
        if number is None:
            refuse(f"{text!r} is not a number", f"write {self.what}")
        return number

    def json_schema(self) -> dict[str, Any]:
        """A number."""
        return with_variable({"type": ["number", "null"]})


class SignalSection(Section):
    """A number that is polled while a release bakes."""

    name: Annotated[str, Text(most=100)] = key(
        _SIGNAL.name, "A name for reports; the host's where it is not given."
    )
    url: Annotated[str, HttpUrl()] = key(..., "Asked with GET; must answer 2xx and JSON.")
    headers: Annotated[tuple[tuple[str, str], ...], Headers] = key(
        _SIGNAL.headers, "Further header fields, such as Authorization."
    )
    path: Annotated[str, Text(least=1)] = key(
        ..., "Dotted path of the number in the JSON, such as `data.result.0.value.1`.", name="json"
    )
    above: Annotated[float | None, Bound()] = key(
        _SIGNAL.above, "A greater number speaks against the release."
    )
    below: Annotated[float | None, Bound()] = key(
        _SIGNAL.below, "A smaller number speaks against it."
    )
    times: Annotated[int, Number(least=1, most=1000)] = key(
        _SIGNAL.times, "Polls in a row that must find it so."
    )
    interval: Annotated[float, Duration(least=0.1, most=3600)] = key(
        _SIGNAL.interval, "Time between two polls."
    )
    timeout: Annotated[float, Duration(least=0.01, most=300)] = key(
        _SIGNAL.timeout, "Until the whole answer must be there."
    )

    @model_validator(mode="after")
    def _has_bounds(self) -> SignalSection:
        if self.above is None and self.below is None:
            refuse("the signal has no bound", "write above or below, or both")
        return self

    def build(self) -> Signal:
        """The domain's value."""
        return Signal(**self.values() | {"name": self.name or urlsplit(self.url).netloc})
