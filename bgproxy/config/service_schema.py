"""The keys of one service; each section builds the domain's value of the same name.

Defaults are the domain's own: they stand at its fields and are only shown here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bgproxy.config.call_schema import HooksSection
from bgproxy.config.check_schema import Codes, Headers, VerifySection
from bgproxy.config.page_readers import PageFile, PageStatus, PageText
from bgproxy.config.preview_schema import PreviewSection
from bgproxy.config.readers import (
    Choice,
    Decimal,
    Duration,
    Number,
    Share,
    Size,
    Text,
)
from bgproxy.config.sections import Many, Pairs, Section, key
from bgproxy.config.signal_schema import SignalSection
from bgproxy.config.tls_schema import HstsValue, UpstreamTlsSection
from bgproxy.config.web_readers import (
    BackendUrl,
    HostField,
    HostPattern,
    Target,
)
from bgproxy.domain.error_pages import ErrorPage
from bgproxy.domain.model import (
    Backend,
    Color,
    DrainPolicy,
    Environment,
    HealthPolicy,
    RollbackMode,
    RollbackPolicy,
    RollbackRule,
    Service,
    ServiceLimits,
    SwitchPolicy,
    Timeouts,
)

_A_MILLISECOND = 0.001

_TIMEOUTS = Timeouts()
_LIMITS = ServiceLimits()
_HEALTH = HealthPolicy()
_SWITCH = SwitchPolicy()
_DRAIN = DrainPolicy()
_ROLLBACK = RollbackPolicy()

Wait = Duration(least=_A_MILLISECOND)


class EnvironmentSection(Section):
    """One of the two environments."""

    backends: Annotated[tuple[Backend, ...], Many(BackendUrl())] = key(
        ...,
        "The interchangeable backends: `http://host:port`, `https://host:port` or `unix:/path`. "
        "Names are resolved again while running. The idle environment's list may be empty.",
    )
    release: Annotated[str, Text(most=100)] = key("", "A name for what runs there, such as `v42`.")

    def build(self) -> Environment:
        """The domain's value."""
        return Environment(**self.values())


class EnvironmentsSection(Section):
    """Blue and green."""

    blue: EnvironmentSection = key(..., "The blue environment.")
    green: EnvironmentSection = key(..., "The green environment.")


class TimeoutsSection(Section):
    """How long the steps of an exchange may take."""

    connect: Annotated[float, Wait] = key(
        _TIMEOUTS.connect, "Until a backend has accepted a connection."
    )
    response: Annotated[float, Wait] = key(
        _TIMEOUTS.response,
        "Until the answer's head is there, counted from the request's last byte; and the longest "
        "silence inside an answer's body.",
    )
    idle: Annotated[float, Wait] = key(
        _TIMEOUTS.idle, "How long a client connection may wait between requests."
    )
    request_head: Annotated[float, Wait] = key(
        _TIMEOUTS.request_head, "Until a request's head is complete, counted from its first byte."
    )
    request_body: Annotated[float, Wait] = key(
        _TIMEOUTS.request_body, "The longest silence inside a request's body."
    )
    upstream_idle: Annotated[float, Wait] = key(
        _TIMEOUTS.upstream_idle,
        "How long an unused connection to a backend is kept. Keep it below the backend's own "
        "keep-alive time.",
    )
    tunnel_idle: Annotated[float, Wait] = key(
        _TIMEOUTS.tunnel_idle, "The longest silence in both directions of a WebSocket or tunnel."
    )

    def build(self) -> Timeouts:
        """The domain's value."""
        return Timeouts(**self.values())


class LimitsSection(Section):
    """Bounds of this service, in each worker."""

    max_body_bytes: Annotated[int, Size()] = key(
        _LIMITS.max_body_bytes, "Of a request's body; `0` means no bound.", name="max_body"
    )
    max_in_flight: Annotated[int, Number(least=1)] = key(
        _LIMITS.max_in_flight, "Requests on one backend at once; more wait in the queue."
    )
    max_queued: Annotated[int, Number()] = key(
        _LIMITS.max_queued, "Requests that wait for a backend; more are answered 503."
    )
    queue_timeout: Annotated[float, Duration()] = key(
        _LIMITS.queue_timeout, "How long a request may wait for a backend."
    )
    max_held: Annotated[int, Number()] = key(
        _LIMITS.max_held, "Requests held by a pause; more are answered 503."
    )
    retry_share: Annotated[float, Share()] = key(
        _LIMITS.retry_share,
        "Retries as a share of requests: the retry budget. Only what cannot have run is retried.",
    )

    def build(self) -> ServiceLimits:
        """The domain's value."""
        return ServiceLimits(**self.values())


class ProbeExpectSection(Section):
    """What a probe's answer must be."""

    expect_status: Annotated[tuple[tuple[int, int], ...], Codes] = key(
        _HEALTH.expect_status,
        'Accepted status codes: `200`, `"200-399"`, or a list of such.',
        name="status",
    )
    expect_body: Annotated[str, Text(is_multiline=True)] = key(
        _HEALTH.expect_body,
        "Text that must occur in the first 64 KiB of the body; empty means any.",
        name="body",
    )


class HealthSection(Section):
    """How each backend's health is probed."""

    path: Annotated[str, Target()] = key(_HEALTH.path, "What the probe, a GET, asks for.")
    interval: Annotated[float, Duration(least=0.1, most=3600)] = key(
        _HEALTH.interval, "Time between two probes of a backend."
    )
    timeout: Annotated[float, Duration(least=0.01, most=300)] = key(
        _HEALTH.timeout, "Until the whole answer must be there."
    )
    healthy_after: Annotated[int, Number(least=1, most=100)] = key(
        _HEALTH.healthy_after, "Passed probes in a row after which a backend gets traffic."
    )
    unhealthy_after: Annotated[int, Number(least=1, most=100)] = key(
        _HEALTH.unhealthy_after, "Failed probes in a row after which it gets none."
    )
    host: Annotated[str, HostField()] = key(
        _HEALTH.host,
        "Host field of probes; empty means the service's first plain host, else the backend's "
        "address.",
    )
    port: Annotated[int, Number(most=65535)] = key(
        _HEALTH.port, "Port to probe instead of the backend's; `0` means the backend's own."
    )
    headers: Annotated[tuple[tuple[str, str], ...], Headers] = key(
        _HEALTH.headers, "Further header fields of probes."
    )
    expect: ProbeExpectSection = Field(
        default_factory=ProbeExpectSection, description="What a probe's answer must be."
    )

    def build(self) -> HealthPolicy:
        """The domain's value."""
        values = self.values()
        return HealthPolicy(**values.pop("expect").values(), **values)


class SwitchSection(Section):
    """When a switch may happen."""

    min_healthy: Annotated[float, Share()] = key(
        _SWITCH.min_healthy,
        "Share of the target's backends that must be healthy; at least one always must.",
    )
    ready_timeout: Annotated[float, Duration(most=3600)] = key(
        _SWITCH.ready_timeout, "How long a switch waits for that before it is refused."
    )

    def build(self) -> SwitchPolicy:
        """The domain's value."""
        return SwitchPolicy(**self.values())


class DrainSection(Section):
    """How long what began on the old environment may go on there."""

    timeout: Annotated[float, Duration()] = key(_DRAIN.timeout, "For requests.")
    tunnel_timeout: Annotated[float, Duration()] = key(
        _DRAIN.tunnel_timeout, "For WebSockets and other tunnels."
    )
    spread: Annotated[float, Duration(most=3600)] = key(
        _DRAIN.spread,
        "Time over which what is left is then closed, so that clients do not all come back in one "
        "instant.",
    )

    def build(self) -> DrainPolicy:
        """The domain's value."""
        return DrainPolicy(**self.values())


class RollbackSection(Section):
    """How a release is watched after the switch, and when it is taken back by itself."""

    bake: Annotated[float, Duration()] = key(
        _ROLLBACK.bake, "How long it is watched; the old environment must stay up that long."
    )
    rule: Annotated[RollbackRule, Choice(RollbackRule)] = key(
        _ROLLBACK.rule,
        "`sequential` compares with the old environment's own record, `threshold` with "
        "`max_error_rate`, `off` never takes back by itself.",
    )
    mode: Annotated[RollbackMode, Choice(RollbackMode)] = key(
        _ROLLBACK.mode, "`act` on a verdict, or only `watch` and report it."
    )
    grace: Annotated[float, Duration(most=3600)] = key(
        _ROLLBACK.grace, "Time after the switch that is not judged."
    )
    window: Annotated[float, Duration(least=1, most=3600)] = key(
        _ROLLBACK.window, "Rule `threshold`: the time over which failures are counted."
    )
    min_requests: Annotated[int, Number(least=1)] = key(
        _ROLLBACK.min_requests, "Rule `threshold`: fewer requests in the window decide nothing."
    )
    max_error_rate: Annotated[float, Share()] = key(
        _ROLLBACK.max_error_rate, "Rule `threshold`: a greater share of failures is harm."
    )
    harm_points: Annotated[float, Share()] = key(
        _ROLLBACK.harm_points,
        "Rule `sequential`: harm is the usual failure share and this much more, or more by "
        "`harm_odds`.",
    )
    harm_odds: Annotated[float, Decimal(1.1, 100)] = key(
        _ROLLBACK.harm_odds, "Rule `sequential`: harm multiplies the odds of a failure by this."
    )
    evidence: Annotated[float, Decimal(1, 1000)] = key(
        _ROLLBACK.evidence,
        "Rule `sequential`: the evidence that decides; more is slower and surer.",
    )
    min_failures: Annotated[int, Number(least=1)] = key(
        _ROLLBACK.min_failures, "Rule `sequential`: fewer failures decide nothing."
    )
    exclude_paths: Annotated[tuple[str, ...], Many(Target(takes_query=False))] = key(
        _ROLLBACK.exclude_paths, "Path prefixes that are not judged, such as those of monitors."
    )
    latency: Annotated[str, Choice(("alert", "rollback", "off"))] = key(
        _ROLLBACK.latency,
        "What slower answers than the old environment's do: `alert`, `rollback`, or nothing "
        "(`off`).",
    )
    signals: tuple[SignalSection, ...] = key(
        _ROLLBACK.signals, "Numbers that others know, polled while a release bakes."
    )

    def build(self) -> RollbackPolicy:
        """The domain's value."""
        signals = tuple(signal.build() for signal in self.signals)
        return RollbackPolicy(**self.values() | {"signals": signals})


class ServiceSection(Section):
    """One application behind the proxy."""

    hosts: Annotated[tuple[str, ...], Many(HostPattern(), least=1)] = key(
        ("*",), "Host names: plain ones, `*.example.com` for any below, `*` for any."
    )
    paths: Annotated[tuple[str, ...], Many(Target(takes_query=False), least=1)] = key(
        ("/",), "Path prefixes, matched at segment boundaries; the longest wins."
    )
    environments: EnvironmentsSection = key(..., "Blue and green.")
    active: Annotated[Color, Choice(Color)] = key(
        Color.BLUE,
        "The environment that is active at the very first start; afterwards the state decides.",
    )
    timeouts: TimeoutsSection = Field(
        default_factory=TimeoutsSection, description="How long steps may take."
    )
    limits: LimitsSection = Field(default_factory=LimitsSection, description="Bounds.")
    health: HealthSection = Field(
        default_factory=HealthSection, description="How backends are probed."
    )
    switch: SwitchSection = Field(
        default_factory=SwitchSection, description="When a switch may happen."
    )
    drain: DrainSection = Field(
        default_factory=DrainSection, description="How the old environment ends."
    )
    verify: VerifySection = Field(
        default_factory=VerifySection, description="What is checked before a switch."
    )
    hooks: HooksSection = Field(
        default_factory=HooksSection, description="What is called around a deployment."
    )
    rollback: RollbackSection = Field(
        default_factory=RollbackSection, description="What is watched after it."
    )
    error_pages: Annotated[tuple[tuple[int, PageText], ...], Pairs(PageStatus(), PageFile())] = key(
        (),
        "Files with HTML, at most 64 KiB each, that browsers get in place of the proxy's own error "
        "answers; by status, or `default` for all others.",
    )

    upstream_tls: UpstreamTlsSection = Field(
        default_factory=UpstreamTlsSection,
        description="What the certificates of `https` backends must show.",
    )
    hsts: Annotated[str, HstsValue()] = key(
        "",
        "Strict-Transport-Security of answers over TLS, such as `max-age=31536000`; empty for "
        "none. A backend's own comes first.",
    )

    preview: PreviewSection = Field(
        default_factory=PreviewSection,
        description="How the idle environment is reached before it is switched to.",
    )

    def build(self, name: str) -> Service:
        """The domain's value."""
        return Service(
            name=name,
            environments=(self.environments.blue.build(), self.environments.green.build()),
            hosts=self.hosts,
            paths=self.paths,
            active=self.active,
            timeouts=self.timeouts.build(),
            limits=self.limits.build(),
            health=self.health.build(),
            switch=self.switch.build(),
            drain=self.drain.build(),
            verify=self.verify.build(),
            hooks=self.hooks.build(),
            rollback=self.rollback.build(),
            preview=self.preview.build(),
            upstream_tls=self.upstream_tls.build(),
            hsts=self.hsts,
            error_pages=tuple(ErrorPage(status, *page) for status, page in self.error_pages),
        )
