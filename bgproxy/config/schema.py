"""The keys of a whole file, and of its parts that are not a service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bgproxy.config.admin_schema import AdminSection
from bgproxy.config.notification_schema import Notifications, build_notifications
from bgproxy.config.readers import (
    Choice,
    Duration,
    Number,
    Reader,
    Share,
    Size,
    Text,
    refuse,
)
from bgproxy.config.sections import Many, Section, key
from bgproxy.config.service_schema import ServiceSection
from bgproxy.config.settings import (
    MAX_SERVICES,
    MAX_WORKERS,
    Network,
    ProxySettings,
    Settings,
)
from bgproxy.config.tls_schema import ListenerSection, ListOfListeners, TextOrListener
from bgproxy.config.tracing_schema import TracingSection
from bgproxy.config.web_readers import Cidr, Name
from bgproxy.domain.access_log import AccessLog, LogFormat
from bgproxy.domain.model import ProxyLimits

_AUTO = 0
_PROXY = ProxySettings()
_LIMITS = ProxyLimits()
_LOG = AccessLog()
_QUERY = ("drop", "keep")


class ProxyLimitsSection(Section):
    """Bounds of every worker, whatever the service."""

    max_line_bytes: Annotated[int, Size(least=256, most=1024**2)] = key(
        _LIMITS.max_line_bytes, "Of a request line; longer ones are answered 414.", name="max_line"
    )
    max_head_bytes: Annotated[int, Size(least=1024, most=1024**2)] = key(
        _LIMITS.max_head_bytes, "Of a whole head; larger ones are answered 431.", name="max_head"
    )
    max_fields: Annotated[int, Number(least=10, most=10_000)] = key(
        _LIMITS.max_fields, "Header fields of a head; more are answered 431."
    )
    max_connections: Annotated[int, Number(least=1)] = key(
        _LIMITS.max_connections,
        "Client connections of each worker; more are answered 503 and closed.",
    )
    max_connections_per_client: Annotated[int, Number()] = key(
        _LIMITS.max_connections_per_client,
        "Of one client address, in each worker; `0` means no bound.",
    )
    min_body_rate: Annotated[int, Size()] = key(
        _LIMITS.min_body_rate,
        "Bytes a second that a request's body must make on average; `0` means no bound.",
    )

    @model_validator(mode="after")
    def _head_holds_line(self) -> ProxyLimitsSection:
        if self.max_line_bytes > self.max_head_bytes:
            refuse(
                "a request line is part of the head, which may not be as large as that",
                "lower it, or raise max_head",
                key="max_line",
            )
        return self

    def build(self) -> ProxyLimits:
        """The domain's value."""
        return ProxyLimits(**self.values())


class LogPath(Text):
    """Where lines go: a file, standard output, or nowhere."""

    what: ClassVar[str] = "the path of a file, or -"

    def read(self, text: str) -> str:
        """The text itself."""
        if Text(most=4000).read(text).endswith("/"):
            refuse(f"{text!r} names a directory", "write the path of a file in it, or -")
        return text


class AccessLogSection(Section):
    """One line for each request."""

    path: Annotated[str, LogPath()] = key(
        _LOG.path,
        "The file, relative to the working directory, or `-` for standard output; empty for no "
        "log. USR1 opens it anew.",
    )
    format: Annotated[LogFormat, Choice(LogFormat)] = key(
        _LOG.format, "`json`, or Apache's `combined` with the proxy's own fields behind it."
    )
    sample: Annotated[float, Share()] = key(
        _LOG.sample, "Share of the requests that went well which is written; all others always are."
    )
    query: Annotated[str, Choice(_QUERY)] = key(
        "drop", "`keep` writes queries too, which may hold secrets; `drop` ends paths before them."
    )

    def build(self) -> AccessLog:
        """The domain's value."""
        return AccessLog(**self.values() | {"query": self.query == "keep"})


class ProxySection(Section):
    """The traffic side: listeners, processes and bounds."""

    listen: Annotated[
        tuple[Annotated[ListenerSection, TextOrListener()], ...], ListOfListeners()
    ] = key(
        tuple(ListenerSection.model_construct(address=each.address) for each in _PROXY.listen),
        "Where clients connect: `address:port`, `[v6]:port`, `name:port` or `unix:PATH`, a mapping "
        "with more about it, or a list of these.",
    )
    workers: Annotated[int, Number(least=1, most=MAX_WORKERS, words=(("auto", _AUTO),))] = key(
        _AUTO, "Processes that carry traffic; `auto` is the number of usable CPUs."
    )
    limits: ProxyLimitsSection = Field(
        default_factory=ProxyLimitsSection, description="Bounds of every worker."
    )
    trusted_proxies: Annotated[tuple[Network, ...], Many(Cidr())] = key(
        _PROXY.trusted_proxies,
        "Networks of load balancers before this proxy: `X-Forwarded-*` and `Forwarded` are "
        "believed and extended if they come from there, else replaced.",
    )
    shutdown_timeout: Annotated[float, Duration(most=24 * 3600)] = key(
        _PROXY.shutdown_timeout, "How long requests under way may take when told to stop (TERM)."
    )
    backlog: Annotated[int, Number(least=1, most=65535)] = key(
        _PROXY.backlog, "Connections that wait in each listening socket to be accepted."
    )
    access_log: AccessLogSection = Field(
        default_factory=AccessLogSection, description="One line for each request; off by default."
    )
    tracing: TracingSection = Field(
        default_factory=TracingSection,
        description="A span for each request, by OpenTelemetry; off by default.",
    )
    request_ring: Annotated[int, Number(most=65536)] = key(
        _PROXY.request_ring,
        "How many requests that went well each worker remembers for `bgproxy why`; failed ones are "
        "remembered in any case.",
    )

    def build(self) -> ProxySettings:
        """The settings; ``auto`` is made a number here."""
        usable = min(len(os.sched_getaffinity(0)), MAX_WORKERS)
        values = self.values()
        values |= {"limits": self.limits.build(), "access_log": self.access_log.build()}
        values["tracing"] = self.tracing.build()
        values["workers"] = self.workers or usable
        values["listen"] = tuple(listener.build() for listener in self.listen)
        return ProxySettings(**values)


class FilePath(Reader):
    """A path in the file system."""

    what = "the path of a file"

    def read(self, text: str) -> Path:
        """The path; relative ones stay so."""
        if Text(least=1, most=4000).read(text).endswith("/"):
            refuse(f"{text!r} names a directory", "write the path of a file in it")
        return Path(text)

    def json_schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string"}

    def show(self, value: Path) -> str:
        """As it is written by default, with the dot that says where it begins."""
        return f"./{value}"


class FileSection(Section):
    """A whole configuration file."""

    proxy: ProxySection = Field(
        default_factory=ProxySection, description="The traffic side: listeners, processes, bounds."
    )
    admin: AdminSection = Field(
        default_factory=AdminSection, description="The admin side: API, metrics and dashboard."
    )
    state: Annotated[Path, FilePath()] = key(
        Path("var/bgproxy.db"),
        "The database of active pointers, deployments and the audit trail; it survives restarts. "
        "Relative to the working directory.",
    )
    services: Annotated[
        dict[Annotated[str, Name()], ServiceSection],
        Field(min_length=1, max_length=MAX_SERVICES),
    ] = key(..., "The applications, by name.")
    notifications: Notifications = key((), "Who is told what happened, by chat or otherwise.")

    @model_validator(mode="after")
    def _notifications_fit(self) -> FileSection:
        build_notifications(self.notifications, frozenset(self.services))
        return self

    def build(self) -> Settings:
        """The settings, not yet checked as a whole."""
        told = build_notifications(self.notifications, frozenset(self.services))
        services = tuple(section.build(name) for name, section in self.services.items())
        previews = tuple(
            listener
            for name, section in self.services.items()
            for listener in section.preview.listeners(name)
        )
        proxy, admin = self.proxy.build(), self.admin.build()
        return Settings(proxy, admin, self.state, services, previews, notifications=told)
