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
    prometheus: Annotated[str, HttpUrl(is_optional=True)] = key(
        "", "Prometheus' own URL, or that of what speaks its API; it is asked `query`."
    )
    query: Annotated[str, Text(most=10_000)] = key(
        _SIGNAL.query, "What to ask it, in PromQL; a query whose result is one number."
    )
    url: Annotated[str, HttpUrl(is_optional=True)] = key(
        _SIGNAL.url, "In place of these two: asked with GET; must answer 2xx and JSON."
    )
    headers: Annotated[tuple[tuple[str, str], ...], Headers] = key(
        _SIGNAL.headers, "Further header fields, such as Authorization."
    )
    path: Annotated[str, Text()] = key(
        _SIGNAL.path, "Dotted path of the number in that, such as `orders.failed`.", name="json"
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
    def _can_speak(self) -> SignalSection:
        if self.above is None and self.below is None:
            refuse("the signal has no bound", "write above or below, or both")
        asked = bool(self.prometheus) + bool(self.query), bool(self.url) + bool(self.path)
        if asked not in ((2, 0), (0, 2)):
            refuse(
                "it is not clear what to ask",
                "write prometheus and query, or url and json, and not both",
            )
        return self

    def build(self) -> Signal:
        """The domain's value."""
        values = dict(self.values())
        prometheus = values.pop("prometheus")
        url = self.url or f"{prometheus.rstrip('/')}/api/v1/query"
        return Signal(**values | {"url": url, "name": self.name or urlsplit(url).netloc})
