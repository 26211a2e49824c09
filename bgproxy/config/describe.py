"""What a configuration means, in plain words: the text of ``bgproxy check``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from bgproxy.config.settings import AUTO_SOCKET, AdminSettings, Listener, ProxySettings, Settings
from bgproxy.domain.access_log import AccessLog
from bgproxy.domain.hooks import Call, CommandCall, Moment
from bgproxy.domain.model import (
    COLORS,
    Color,
    RollbackMode,
    RollbackPolicy,
    RollbackRule,
    Service,
)
from bgproxy.domain.preview import Preview
from bgproxy.domain.tls import UpstreamTls
from bgproxy.domain.tracing import Tracing
from bgproxy.units import format_duration, format_share, format_size

_COLUMN = 13
_WIDTH = 100


def describe(settings: Settings) -> str:
    """Say what a configuration means; no secret is in it."""
    lines = [
        *_proxy(settings.proxy),
        "",
        *_admin(settings.admin),
        "",
        _line("state", str(settings.state)),
    ]
    for service in settings.services:
        lines += ["", *_service(service)]
    if settings.warnings:
        lines += ["", *(f"warning: {warning}" for warning in settings.warnings)]
    return "\n".join(lines)


def _line(what: str, text: str, indent: int = 0) -> str:
    """A word, then what is said about it, in a column of its own."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"{' ' * indent}{what}".ljust(_COLUMN),
        subsequent_indent=" " * _COLUMN,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _listed(words: Iterable[object], nothing: str = "none") -> str:
    return ", ".join(map(str, words)) or nothing


def _proxy(proxy: ProxySettings) -> Iterator[str]:
    limits = proxy.limits
    yield _line("proxy", f"listens on {_listed(map(_listener, proxy.listen))}")
    yield _line(
        "workers",
        f"{proxy.workers}, each with at most {limits.max_connections} connections",
        2,
    )
    yield _line(
        "heads",
        f"at most {format_size(limits.max_head_bytes)} with {limits.max_fields} fields, "
        f"request lines {format_size(limits.max_line_bytes)}",
        2,
    )
    yield _line("trusts", _listed(proxy.trusted_proxies, "nobody's forwarding fields"), 2)
    if proxy.access_log.path:
        yield _line("requests", _access_log(proxy.access_log), 2)
    if proxy.tracing.endpoint:
        yield _line("spans", _tracing(proxy.tracing), 2)
    yield _line("shutdown", f"after at most {format_duration(proxy.shutdown_timeout)}", 2)


def _access_log(log: AccessLog) -> str:
    place = "standard output" if log.path == "-" else log.path
    share = "" if log.sample == 1 else f", {format_share(log.sample)} of those that went well"
    return f"written to {place} as {log.format}{share}, {'with' if log.query else 'without'} query"


def _tracing(tracing: Tracing) -> str:
    """By host alone: paths of collectors may hold secrets."""
    host = urlsplit(tracing.endpoint).netloc
    share = f"{format_share(tracing.sample)} of the traces begun here"
    return f"sent to {host} as {tracing.service_name}, {share}"


def _listener(listener: Listener) -> str:
    parts = [str(listener)]
    if listener.tls is not None:
        contents = (files.content for files in listener.tls.certificates)
        names = dict.fromkeys(name for each in contents if each for name in each.names)
        parts.append(f"with TLS {listener.tls.min_version} and up for {' and '.join(names)}")
    if listener.https_port:
        parts.append(f"redirecting to https on port {listener.https_port}")
    if listener.proxy_from:
        networks = " and ".join(map(str, listener.proxy_from))
        parts.append(f"behind PROXY headers from {networks}")
    return " ".join(parts)


def _admin(admin: AdminSettings) -> Iterator[str]:
    places = _listed(admin.listen) + (" with TLS" if admin.tls else "")
    yield _line("admin", f"listens on {places}")
    if admin.socket:
        is_usual = admin.socket == AUTO_SOCKET
        yield _line("socket", "in the runtime directory" if is_usual else admin.socket, 2)
    tokens = (f"{token.name} ({token.role})" for token in admin.tokens)
    yield _line("tokens", _listed(tokens, "none: whoever can connect is an admin"), 2)
    if admin.allowed_hosts:
        yield _line("names", _listed(admin.allowed_hosts), 2)
    if rules := admin.backend_allow.rules:
        yield _line("backends", f"set over the API may be {_listed(r.text for r in rules)}", 2)


def _service(service: Service) -> Iterator[str]:
    yield _line("service", service.name)
    hosts = ["any host" if host == "*" else host for host in service.hosts]
    yield _line("serves", f"{_listed(hosts)}; paths below {_listed(service.paths)}", 2)
    for color in COLORS:
        yield _line(color.value, _environment(service, color), 2)
    times = service.timeouts
    yield _line(
        "time-outs",
        f"connect {format_duration(times.connect)}, answer {format_duration(times.response)}, "
        f"request head {format_duration(times.request_head)}, "
        f"idle client {format_duration(times.idle)}",
        2,
    )
    if any(backend.scheme == "https" for e in service.environments for backend in e.backends):
        yield _line("trust", _trust(service.upstream_tls), 2)
    yield _line("health", _health(service), 2)
    yield _line("switch", _switch(service), 2)
    yield _line("drain", _drain(service), 2)
    yield _line("rollback", _rollback(service.rollback), 2)
    if service.preview is not None and service.preview.open_ways:
        yield _line("preview", _preview(service.preview), 2)
    if hooks := [f"{moment} {_calls(calls)}" for moment, calls in _hooks(service)]:
        yield _line("hooks", "; ".join(hooks), 2)
    if service.error_pages:
        pages = (f"{page.status or 'default'} {page.file}" for page in service.error_pages)
        yield _line("pages", _listed(pages), 2)


def _trust(tls: UpstreamTls) -> str:
    if not tls.verify:
        return "any certificate of an https backend"
    signers = f"an authority in {tls.ca}" if tls.ca else "an authority of the system"
    name = tls.server_name or "the host in its address"
    return f"https backends with a certificate for {name}, signed by {signers}"


def _environment(service: Service, color: Color) -> str:
    environment = service.environment(color)
    release = f", runs {environment.release}" if environment.release else ""
    active = ", active at the very first start" if color is service.active else ""
    urls = (backend.url for backend in environment.backends)
    return f"{_listed(urls, 'no backend yet')}{release}{active}"


def _health(service: Service) -> str:
    health = service.health
    codes = _listed(
        str(low) if low == high else f"{low}-{high}" for low, high in health.expect_status
    )
    body = f" with {health.expect_body!r} in it" if health.expect_body else ""
    host = health.host or service.plain_host
    return (
        f"GET {health.path}{f' for {host}' if host else ''} every "
        f"{format_duration(health.interval)}, within {format_duration(health.timeout)}, "
        f"must answer {codes}{body}; {health.healthy_after} passed make a backend ready, "
        f"{health.unhealthy_after} failed unready"
    )


def _switch(service: Service) -> str:
    policy, verify = service.switch, service.verify
    steps = []
    if verify.warm_up.requests:
        steps.append(f"warm-up with {verify.warm_up.requests} requests for {verify.warm_up.path}")
    if verify.checks:
        steps.append(f"these checks: {_listed(check.name for check in verify.checks)}")
    if verify.calls:
        steps.append(f"a yes of {_calls(verify.calls)}")
    return (
        f"when {format_share(policy.min_healthy)} of the target's backends are healthy, waiting "
        f"{format_duration(policy.ready_timeout)} for that; "
        + (f"after {', '.join(steps)}" if steps else "no checks")
    )


def _hooks(service: Service) -> Iterator[tuple[str, tuple[Call, ...]]]:
    for moment in Moment:
        if calls := service.hooks.at(moment):
            yield moment.value.replace("_", " "), calls


def _calls(calls: Iterable[Call]) -> str:
    """By name and kind alone: URLs and arguments may hold secrets."""
    return _listed(
        f"{call.name} ({'command' if isinstance(call, CommandCall) else 'webhook'})"
        for call in calls
    )


def _drain(service: Service) -> str:
    drain = service.drain
    return (
        f"requests have {format_duration(drain.timeout)}, tunnels "
        f"{format_duration(drain.tunnel_timeout)}; the rest is closed over "
        f"{format_duration(drain.spread)}"
    )


def _preview(preview: Preview) -> str:
    ways = ", or by ".join(way.label.replace("+", " and ") for way in preview.open_ways)
    places = _listed((*preview.listen, *preview.hosts), "")
    return f"of the idle environment by {ways}" + (f"; at {places}" if places else "")


def _rollback(policy: RollbackPolicy) -> str:
    if not policy.bake or policy.rule is RollbackRule.OFF:
        return "never by itself"
    act = "reported" if policy.mode is RollbackMode.WATCH else "taken back"
    watch = f"watched for {format_duration(policy.bake)}, {act} "
    names = _listed((signal.name for signal in policy.signals), "")
    signals = f"when {names} says so, or " if names else ""
    if policy.rule is RollbackRule.THRESHOLD:
        return (
            f"{watch}{signals}when more than {format_share(policy.max_error_rate)} of at least "
            f"{policy.min_requests} requests fail within {format_duration(policy.window)}"
        )
    return (
        f"{watch}{signals}when it fails clearly more often than the old environment did "
        f"(by {format_share(policy.harm_points)}, or {policy.harm_odds:g} times the odds)"
    )
