"""What only shows when the previews of all services are looked at together."""

from __future__ import annotations

from collections.abc import Iterator

from bgproxy.config.settings import Address, Settings
from bgproxy.domain.model import Service

Finding = tuple[tuple[str | int, ...], str, str]
"""The key's path, the problem, the remedy."""


def preview_faults(settings: Settings) -> Iterator[Finding]:
    """Listeners, hosts and links of previews that somebody else has already."""
    taken = [("proxy.listen", listener.address) for listener in settings.proxy.listen]
    taken += [("admin.listen", address) for address in settings.admin.listen]
    hosts = {
        (host, path.rstrip("/")): service.name
        for service in settings.services
        for host in service.hosts
        for path in service.paths
    }
    for service in settings.services:
        if service.preview is not None:
            yield from _taken_listeners(service, taken)
            yield from _taken_hosts(service, hosts)
            yield from _taken_links(service, hosts)


def _taken_listeners(service: Service, taken: list[tuple[str, Address]]) -> Iterator[Finding]:
    assert service.preview is not None
    for index, text in enumerate(service.preview.listen):
        address = Address.parse(text)
        here = f"services.{service.name}.preview.listen"
        other = next((where for where, there in taken if _clash(address, there, where)), None)
        if other is not None:
            yield (
                ("services", service.name, "preview", "listen", index),
                f"{address} is taken by {other}",
                "give each listener an address and port of its own",
            )
        taken.append((here, address))


def _clash(address: Address, other: Address, where: str) -> bool:
    """Whether a preview cannot have an address that somebody else has.

    Of two previews that let the kernel choose a port, nobody could say which is whose.
    """
    is_previews = where.startswith("services.")
    return address.clashes_with(other) or (is_previews and address == other)


def _taken_hosts(service: Service, hosts: dict[tuple[str, str], str]) -> Iterator[Finding]:
    assert service.preview is not None
    for index, host in enumerate(service.preview.hosts):
        for path in service.paths:
            owner = hosts.setdefault((host, path.rstrip("/")), f"the preview of {service.name}")
            if owner != f"the preview of {service.name}":
                yield (
                    ("services", service.name, "preview", "hosts", index),
                    f"{host} with the path {path} leads to {owner} already",
                    "give the preview a host of its own",
                )


def _taken_links(service: Service, hosts: dict[tuple[str, str], str]) -> Iterator[Finding]:
    assert service.preview is not None
    cookie = service.preview.cookie
    if cookie is None:
        return
    for host in (*service.hosts, *service.preview.hosts):
        owner = hosts.setdefault((host, cookie.path), f"the link of {service.name}")
        if owner != f"the link of {service.name}":
            yield (
                ("services", service.name, "preview", "cookie", "path"),
                f"{host} with the path {cookie.path} leads to {owner} already",
                "give each service a link and a cookie of its own (path and name)",
            )
            return
