"""What a configuration means: services, environments, backends and the policies that govern them.

All values are frozen and check themselves; durations are seconds, shares run from 0 to 1.
Defaults stand at the fields and nowhere else.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, field

from bgproxy.domain.error_pages import ErrorPage
from bgproxy.domain.hooks import Call, Hooks
from bgproxy.domain.preview import Preview
from bgproxy.domain.signals import Signal
from bgproxy.domain.tls import UpstreamTls

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?\Z")


class Color(enum.StrEnum):
    """One of the two environments of every service."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        """The other environment's color."""
        return Color.GREEN if self is Color.BLUE else Color.BLUE

    @property
    def index(self) -> int:  # type: ignore[override]  # a color is never searched
        """0 for blue, 1 for green: the place in pairs and in shared memory."""
        return 0 if self is Color.BLUE else 1


COLORS = (Color.BLUE, Color.GREEN)


@dataclass(frozen=True, slots=True)
class Backend:
    """One address of an environment, as it was written.

    Args:
        url: ``http://host:port``, ``https://host:port`` or ``unix:/path``, normalized by `parse`.
        scheme: ``http``, ``https`` or ``unix``.
        host: a name or an IP address without brackets; empty for ``unix``.
        port: the TCP port; 0 for ``unix``.
        path: the socket's path; empty unless ``unix``.
    """

    url: str
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Backend:
        """Read a backend's address.

        Raises:
            ValueError: with one sentence that says what is wrong and what would be right.
        """
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/") or "\0" in path or len(path.encode()) > 107:
                raise ValueError(f"{text!r}: write unix:/absolute/path, at most 107 bytes long")
            return cls(f"unix:{path}", "unix", path=path)
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in ("http", "https"):
            raise ValueError(f"{text!r}: write http://host:port, https://host:port or unix:/path")
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        host, port = _split_authority(authority, text)
        shown = f"[{host}]" if ":" in host else host
        url = f"{scheme}://{shown}:{port}"
        if rest.removeprefix(authority) not in ("", "/"):
            raise ValueError(f"{text!r}: a backend has no path, as in {url}")
        return cls(url, scheme, host, port)

    @property
    def authority(self) -> str:
        """``host:port`` as it stands in a Host field; ``localhost`` for a unix socket."""
        if self.scheme == "unix":
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_name(self) -> bool:
        """Whether the host must be resolved (a name, not an IP address and no socket path)."""
        if self.scheme == "unix":
            return False
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False


def _split_authority(rest: str, text: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; the port is required: no default would be sane."""
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"{text!r}: {host!r} is not an IPv6 address") from None
        if not closed or not tail.startswith(":"):
            raise ValueError(f"{text!r}: write the port after the address, as in http://[::1]:9001")
        port = tail[1:]
    else:
        host, separator, port = rest.rpartition(":")
        if not separator:
            raise ValueError(f"{text!r}: the port is missing, as in http://{rest or 'host'}:9001")
        if not _HOST.match(host):
            raise ValueError(f"{text!r}: {host!r} is not a host name or an IP address")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r}: the port must be a number from 1 to 65535")
    return host, int(port)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the steps of an exchange may take, in seconds.

    Args:
        connect: until a backend has accepted a connection.
        response: until the answer's head is there, counted from the request's last byte; and the
            longest silence inside an answer's body.
        idle: how long a client connection may wait between requests.
        request_head: until a request's head is complete, counted from its first byte.
        request_body: the longest silence inside a request's body.
        upstream_idle: how long an unused backend connection is kept.
        tunnel_idle: the longest silence in both directions of a tunnel.
    """

    connect: float = 2.0
    response: float = 60.0
    idle: float = 75.0
    request_head: float = 10.0
    request_body: float = 60.0
    upstream_idle: float = 55.0
    tunnel_idle: float = 3600.0


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Bounds of one service, per worker.

    Args:
        max_body_bytes: of a request; 0 means no bound.
        max_in_flight: requests on one backend at once; more wait in the queue.
        max_queued: requests that wait for a backend; more are answered 503.
        queue_timeout: how long one may wait, in seconds.
        max_held: requests held by a pause; more are answered 503.
        retry_share: retries as a share of requests (the retry budget).
    """

    max_body_bytes: int = 0
    max_in_flight: int = 1024
    max_queued: int = 1024
    queue_timeout: float = 5.0
    max_held: int = 4096
    retry_share: float = 0.2


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """Bounds of every worker, whatever the service.

    Args:
        max_line_bytes: of a request line.
        max_head_bytes: of a whole head.
        max_fields: of a head.
        max_connections: of clients, per worker; more are answered 503 and closed.
        max_connections_per_client: from one address, per worker; 0 means no bound.
        min_body_rate: bytes a second that a request's body must make on average; 0 means no bound.
    """

    max_line_bytes: int = 8192
    max_head_bytes: int = 32768
    max_fields: int = 100
    max_connections: int = 16384
    max_connections_per_client: int = 0
    min_body_rate: int = 0


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How a backend's health is probed.

    Args:
        path: target of the probe, a GET.
        interval, timeout: seconds.
        healthy_after, unhealthy_after: results in a row that flip the verdict.
        host: Host field; empty means the service's first plain host, else the backend's address.
        port: port to probe instead of the backend's; 0 means the backend's own.
        headers: further fields, pairs of name and value.
        expect_status: accepted status codes, as inclusive ranges.
        expect_body: text that must occur in the first 64 KiB of the body; empty means any.
    """

    path: str = "/healthz"
    interval: float = 2.0
    timeout: float = 1.0
    healthy_after: int = 2
    unhealthy_after: int = 3
    host: str = ""
    port: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    expect_status: tuple[tuple[int, int], ...] = ((200, 399),)
    expect_body: str = ""


@dataclass(frozen=True, slots=True)
class SwitchPolicy:
    """When a switch may happen.

    Args:
        min_healthy: share of the target's backends that must be healthy, 0 to 1.
        ready_timeout: seconds to wait for that before the switch is refused.
    """

    min_healthy: float = 1.0
    ready_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """How long what began on the old environment may go on, in seconds.

    Args:
        timeout: for requests.
        tunnel_timeout: for WebSockets and other tunnels.
        spread: time over which what is left is then closed.
    """

    timeout: float = 30.0
    tunnel_timeout: float = 30.0
    spread: float = 2.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a verification check's answer must be; empty parts are not asked for.

    Args:
        status: accepted status codes, as inclusive ranges.
        headers: pairs of name and regular expression.
        body: text that must occur.
        body_regex: regular expression that must match somewhere.
        json: pairs of a dotted path and the value it must have.
        max_latency: seconds until the whole answer; 0 means any.
    """

    status: tuple[tuple[int, int], ...] = ((200, 399),)
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    body_regex: str = ""
    json: tuple[tuple[str, object], ...] = ()
    max_latency: float = 0.0


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """One HTTP request that every backend of the environment must answer as expected.

    Args:
        name: for reports.
        repeats: how often it is sent to each backend.
        allowed_failures: how many of these may fail.
        timeout: seconds for one of them.
    """

    name: str
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    expect: Expectation = field(default_factory=Expectation)
    repeats: int = 1
    allowed_failures: int = 0
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Requests that every backend gets before its checks; how they are answered is ignored.

    Args:
        path: of a GET.
        requests: how many each backend gets at most.
        seconds: for how long at most.
    """

    path: str = "/"
    requests: int = 0
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class VerifyPolicy:
    """What is checked before a switch and by ``bgproxy verify``.

    Args:
        checks: HTTP requests to every backend.
        calls: commands and webhooks that are asked once for the environment.
        warm_up: what comes before the checks; no requests by default.
    """

    checks: tuple[HttpCheck, ...] = ()
    calls: tuple[Call, ...] = ()
    warm_up: WarmUp = field(default_factory=WarmUp)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.checks and not self.calls and not self.warm_up.requests


class RollbackRule(enum.StrEnum):
    """Which rule judges a release while it bakes; ``off`` never rolls back by itself."""

    SEQUENTIAL = "sequential"
    THRESHOLD = "threshold"
    OFF = "off"


class RollbackMode(enum.StrEnum):
    """Whether the judge acts on its verdict or only reports it."""

    ACT = "act"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class RollbackPolicy:
    """How a release is watched after the switch.

    Args:
        bake: seconds of watching.
        rule: see `RollbackRule`.
        mode: see `RollbackMode`.
        grace: seconds after the switch that are not judged.
        window, min_requests, max_error_rate: of the rule ``threshold``.
        harm_points, harm_odds: harm level = max(p0 + points, odds times the odds of p0).
        evidence: the sum at which the rule ``sequential`` decides.
        min_failures: failures it needs besides.
        exclude_paths: path prefixes whose exchanges are not judged.
        latency: ``alert``, ``rollback`` or ``off``.
        signals: what others know about the release.
    """

    bake: float = 600.0
    rule: RollbackRule = RollbackRule.SEQUENTIAL
    mode: RollbackMode = RollbackMode.ACT
    grace: float = 3.0
    window: float = 10.0
    min_requests: int = 20
    max_error_rate: float = 0.05
    harm_points: float = 0.02
    harm_odds: float = 3.0
    evidence: float = 20.0
    min_failures: int = 10
    exclude_paths: tuple[str, ...] = ()
    latency: str = "alert"
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """A color's backends as the configuration gives them; state may hold newer ones."""

    backends: tuple[Backend, ...]
    release: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """One application behind the proxy.

    Args:
        hosts: host names; ``*`` any, ``*.example.com`` any below. Lower case, no port.
        paths: path prefixes, matched at segment boundaries; the longest wins.
        environments: blue and green, in this order.
        active: the environment that is active at the very first start.
        error_pages: pages of its own for error answers.
        upstream_tls: what its ``https`` backends must show.
        hsts: value of Strict-Transport-Security in answers over TLS; empty for none.
        preview: how its idle environment is reached; None for not at all.
    """

    name: str
    environments: tuple[Environment, Environment]
    hosts: tuple[str, ...] = ("*",)
    paths: tuple[str, ...] = ("/",)
    active: Color = Color.BLUE
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    switch: SwitchPolicy = field(default_factory=SwitchPolicy)
    drain: DrainPolicy = field(default_factory=DrainPolicy)
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)
    rollback: RollbackPolicy = field(default_factory=RollbackPolicy)
    error_pages: tuple[ErrorPage, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)
    upstream_tls: UpstreamTls = field(default_factory=UpstreamTls)
    hsts: str = ""
    preview: Preview | None = None

    def environment(self, color: Color) -> Environment:
        """The environment of that color."""
        return self.environments[color.index]

    @property
    def plain_host(self) -> str:
        """The first host without a wildcard, or an empty text: the default Host of probes."""
        return next((host for host in self.hosts if "*" not in host), "")
