"""What only shows when several values are looked at together."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from itertools import chain

from bgproxy.config.faults import fault_at
from bgproxy.config.preview_checks import preview_faults
from bgproxy.config.settings import MAX_BACKENDS, Address, AdminSettings, ProxySettings, Settings
from bgproxy.config.yaml_nodes import Node
from bgproxy.domain.hooks import Call, Moment, WebhookCall
from bgproxy.domain.model import COLORS, Backend, Color, RollbackPolicy, RollbackRule, Service
from bgproxy.errors import Fault

Path = tuple[str | int, ...]
Finding = tuple[Path, str, str]
"""The key's path, the problem, the remedy."""

_SHORT_TOKEN = 16
_MOST_PAGE_BYTES = 16 * 1024 * 1024


def check(settings: Settings, root: Node) -> tuple[list[Fault], list[Fault]]:
    """Look at a configuration as a whole.

    Args:
        root: the nodes it was made of, for places.

    Returns:
        What makes it unusable, and what is hardly meant; without the file's name.
    """
    faults = chain(
        _clashing_listeners(settings),
        _same_routes(settings.services),
        preview_faults(settings),
        _too_many_backends(settings.services),
        _too_large_pages(settings.services),
        _own_listeners(settings),
        *map(_backend_faults, settings.services),
    )
    warnings = chain(
        _short_tokens(settings), _open_way(settings), *map(_service_warnings, settings.services)
    )
    return [fault_at(root, *finding) for finding in faults], [
        fault_at(root, *finding) for finding in warnings
    ]


def _clashing_listeners(settings: Settings) -> Iterator[Finding]:
    sides = [
        ("proxy", _addresses(settings.proxy), _addresses(ProxySettings())),
        ("admin", settings.admin.listen, AdminSettings().listen),
    ]
    sides.sort(key=lambda side: side[1] != side[2])  # a default is nobody's fault
    taken: list[tuple[str, Address]] = []
    for side, addresses, _ in sides:
        for index, address in enumerate(addresses):
            for where, other in taken:
                if address.clashes_with(other):
                    yield (
                        (side, "listen", index),
                        f"{address} is taken by {other} of {where}.listen",
                        "give each listener an address and port of its own",
                    )
                    break
            taken.append((side, address))


def _addresses(proxy: ProxySettings) -> tuple[Address, ...]:
    return tuple(listener.address for listener in proxy.listen)


def _same_routes(services: tuple[Service, ...]) -> Iterator[Finding]:
    """Two services, or one of them twice, for the same host and path."""
    owners: dict[tuple[str, str], tuple[str, int, int]] = {}
    for service in services:
        for host_index, host in enumerate(service.hosts):
            for path_index, path in enumerate(service.paths):
                here = service.name, host_index, path_index
                first = owners.setdefault((host, path.rstrip("/")), here)
                if first != here:
                    yield _claimed_twice(service, here, first)


def _claimed_twice(
    service: Service, here: tuple[str, int, int], first: tuple[str, int, int]
) -> Finding:
    """A host and path that were claimed before; both as places: service, host, path."""
    _, host_index, path_index = here
    host, path = service.hosts[host_index], service.paths[path_index]
    hosts: Path = ("services", service.name, "hosts", host_index)
    if first[0] != service.name:
        problem = f"{host} with the path {path} leads to {first[0]} already"
        return hosts, problem, "give one of them another host or path"
    if first[1] != host_index:
        return hosts, f"{host} stands there twice", "remove one"
    paths: Path = ("services", service.name, "paths", path_index)
    return paths, f"{path} stands there twice", "remove one"


def _too_many_backends(services: tuple[Service, ...]) -> Iterator[Finding]:
    count = sum(len(e.backends) for service in services for e in service.environments)
    if count > MAX_BACKENDS:
        yield (("services",), f"they have {count} backends", f"at most {MAX_BACKENDS} can be")


def _too_large_pages(services: tuple[Service, ...]) -> Iterator[Finding]:
    """Every worker is sent all of them, with every table."""
    size = sum(len(page.html) for service in services for page in service.error_pages)
    if size > _MOST_PAGE_BYTES:
        most = _MOST_PAGE_BYTES // 1024**2
        yield ("services",), f"their error pages are larger than {most} MiB", "make them smaller"


def _backend_faults(service: Service) -> Iterator[Finding]:
    for color in COLORS:
        backends = service.environment(color).backends
        path = _backends_of(service, color)
        for index, backend in enumerate(backends):
            if backend in backends[:index]:
                yield (*path, index), f"{backend.url} stands there twice", "remove one"
        if not backends and color is service.active:
            yield (
                path,
                f"{color} is the active environment and has no backend",
                "name one, or make the other environment the active one",
            )


def _own_listeners(settings: Settings) -> Iterator[Finding]:
    """Backends that are the proxy itself: each request to one would come back, and go round."""
    listeners = [("proxy.listen", address) for address in _addresses(settings.proxy)]
    listeners += [("admin.listen", address) for address in settings.admin.listen]
    for service in settings.services:
        for text in service.preview.listen if service.preview else ():
            listeners.append((f"services.{service.name}.preview.listen", Address.parse(text)))
    for service in settings.services:
        for color in COLORS:
            for index, backend in enumerate(service.environment(color).backends):
                where = next((key for key, own in listeners if _leads_to(backend, own)), None)
                if where is not None:
                    yield (
                        (*_backends_of(service, color), index),
                        f"{backend.url} is this proxy itself ({where})",
                        "name the address on which the application listens",
                    )


def _leads_to(backend: Backend, listener: Address) -> bool:
    """Whether a connection to a backend would arrive at a listener, as far as can be read."""
    if backend.path or listener.path:
        return backend.path == listener.path
    if backend.port != listener.port:
        return False
    theirs, ours = (_LOCALHOST if h == "localhost" else {h} for h in (backend.host, listener.host))
    if listener.is_wildcard:
        return any(_is_loopback(h) and (":" in h) == (":" in listener.host) for h in theirs)
    return bool(theirs & ours)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


_LOCALHOST = {"127.0.0.1", "::1"}


def _backends_of(service: Service, color: Color) -> Path:
    return "services", service.name, "environments", color.value, "backends"


def _service_warnings(service: Service) -> Iterator[Finding]:
    yield from _shared_backends(service)
    yield from _unused_threshold(service)
    yield from _long_grace(service)
    yield from _short_secrets(service)


def _shared_backends(service: Service) -> Iterator[Finding]:
    blue, green = service.environments
    for index, backend in enumerate(green.backends):
        if backend in blue.backends:
            yield (
                ("services", service.name, "environments", "green", "backends", index),
                f"{backend.url} is a backend of blue as well, so a switch changes nothing for it",
                "give each environment backends of its own",
            )


def _unused_threshold(service: Service) -> Iterator[Finding]:
    rule, usual = service.rollback, RollbackPolicy()
    if rule.rule is RollbackRule.THRESHOLD:
        return
    for name in ("window", "min_requests", "max_error_rate"):
        if getattr(rule, name) != getattr(usual, name):
            yield (
                ("services", service.name, "rollback", name),
                f"this says nothing while the rule is {rule.rule}",
                "write rule: threshold, or remove it",
            )


def _long_grace(service: Service) -> Iterator[Finding]:
    rollback = service.rollback
    if rollback.rule is not RollbackRule.OFF and 0 < rollback.bake <= rollback.grace:
        yield (
            ("services", service.name, "rollback", "grace"),
            "this is as long as the bake: little of it would be judged",
            "lower it, or bake for longer",
        )


def _short_secrets(service: Service) -> Iterator[Finding]:
    lists: list[tuple[Path, tuple[Call, ...]]] = [
        (("hooks", moment.value), service.hooks.at(moment)) for moment in Moment
    ]
    lists.append((("verify", "calls"), service.verify.calls))
    for place, calls in lists:
        for index, call in enumerate(calls):
            if isinstance(call, WebhookCall) and 0 < len(call.secret) < _SHORT_TOKEN:
                yield (
                    ("services", service.name, *place, index, "secret"),
                    f"the secret of {call.name} is short enough to be guessed",
                    "make one with: openssl rand -hex 32",
                )


def _short_tokens(settings: Settings) -> Iterator[Finding]:
    for index, token in enumerate(settings.admin.tokens):
        if len(token.secret) < _SHORT_TOKEN:
            yield (
                ("admin", "tokens", index, "token"),
                f"the token of {token.name} is short enough to be guessed",
                "make one with: bgproxy token new",
            )


def _open_way(settings: Settings) -> Iterator[Finding]:
    """Tokens that travel for everybody on the way to read."""
    admin = settings.admin
    if admin.tls is None and not all(address.is_loopback for address in admin.listen):
        yield (
            ("admin", "insecure"),
            "tokens travel to the admin API unencrypted: whoever reads one is an operator",
            "set admin.tls, or listen on 127.0.0.1",
        )
