"""The keys of tracing, and whether what they need is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import model_validator

from bgproxy.config.readers import Choice, Share, Text, refuse
from bgproxy.config.sections import Pairs, Section, key
from bgproxy.config.web_readers import FieldName, FieldValue, HttpUrl
from bgproxy.domain.tracing import Tracing

_TRACING = Tracing()
_QUERY = ("drop", "keep")
_PATH = "/v1/traces"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_SDK = "opentelemetry.sdk"


class TracingSection(Section):
    """A span for each request, by OpenTelemetry."""

    endpoint: Annotated[str, HttpUrl(is_optional=True)] = key(
        _TRACING.endpoint,
        "A collector's URL for OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is "
        "put behind it where it does not end so. Empty for no tracing.",
    )
    sample: Annotated[float, Share()] = key(
        _TRACING.sample,
        "Share of the traces begun here that is recorded. A request whose `traceparent` says that "
        "its sender records is recorded always, one that says the contrary never.",
    )
    service_name: Annotated[str, Text(least=1, most=255)] = key(
        _TRACING.service_name, "The spans' `service.name`."
    )
    headers: Annotated[tuple[tuple[str, str], ...], Pairs(FieldName(), FieldValue())] = key(
        _TRACING.headers, "Fields sent along, such as a key; best as `${NAME}`."
    )
    attributes: Annotated[
        tuple[tuple[str, str], ...], Pairs(Text(least=1, most=255), Text(most=1000))
    ] = key(
        _TRACING.attributes, "Attributes of the resource, such as `deployment.environment.name`."
    )
    query: Annotated[str, Choice(_QUERY)] = key(
        "drop", "`keep` tells queries too, which may hold secrets."
    )

    @model_validator(mode="after")
    def _can_be_exported(self) -> TracingSection:
        if self.endpoint and not has_exporter():
            refuse(
                "tracing needs OpenTelemetry, which is not installed",
                "install it: pip install 'bgproxy[otel]'",
                key="endpoint",
            )
        return self

    def build(self) -> Tracing:
        """The domain's value."""
        given = {"endpoint": _whole(self.endpoint), "query": self.query == "keep"}
        return Tracing(**self.values() | given)


def has_exporter() -> bool:
    """Whether the packages of the extra are there."""
    try:
        return find_spec(_EXPORTER) is not None and find_spec(_SDK) is not None
    except ModuleNotFoundError:  # one of the packages around it
        return False


def _whole(endpoint: str) -> str:
    """The URL that is posted to."""
    if not endpoint or urlsplit(endpoint).path.endswith(_PATH):
        return endpoint
    url, question, query = endpoint.partition("?")
    return f"{url.rstrip('/')}{_PATH}{question}{query}"
