"""Where spans of requests go, and of which requests."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tracing:
    """How requests are traced (OpenTelemetry).

    Args:
        endpoint: URL that spans are posted to (OTLP over HTTP); empty for no tracing.
        sample: share of the traces begun here that is recorded; a trace that was begun before this
            hop is recorded if its sender does.
        service_name: ``service.name`` of every span.
        headers: names and values of fields that go with them; values may be secret.
        attributes: names and values of further attributes of the resource.
        query: whether the query of a request's target, which may hold secrets, is told too.
    """

    endpoint: str = field(default="", repr=False)
    sample: float = 1.0
    service_name: str = "bgproxy"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    attributes: tuple[tuple[str, str], ...] = ()
    query: bool = False
