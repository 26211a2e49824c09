"""What every client command starts from: where the admin API is, who asks, which service."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click

from bgproxy.client import AdminClient, ProblemError, ServiceDocument
from bgproxy.commands.options import shared_options
from bgproxy.local_socket import DEFAULT_ADMIN, find_socket

_Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Session:
    """The options that all client commands share, settled.

    Args:
        client: calls the admin API.
        service_name: as given by ``--service``; empty when it was not.
        is_json: whether the result is wanted as JSON.
    """

    client: AdminClient
    service_name: str
    is_json: bool

    def service(self) -> ServiceDocument:
        """The service that is meant: the named one, or the only one, or ``default``.

        Raises:
            click.UsageError: when several could be meant.
        """
        if self.service_name:
            return self.client.service(self.service_name)
        services = self.client.services()
        if len(services) == 1:
            return services[0]
        by_name = {service["name"]: service for service in services}
        if "default" in by_name:
            return by_name["default"]
        raise click.UsageError(f"which service? give --service, one of: {', '.join(by_name)}")

    def print_json(self, document: object) -> None:
        """Write a document to standard output."""
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _usual_admin() -> str:
    """The socket of the proxy on this machine, where this user may open it; else its port."""
    path = find_socket(urlsplit(DEFAULT_ADMIN).port or 0)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        if path:
            probe.connect(path)  # one that a killed proxy left behind is no answer
            return f"unix:{path}"
    return DEFAULT_ADMIN


def client_command(function: _Command) -> _Command:
    """Give a command the shared options and, as its first argument, the `Session` they make."""

    @shared_options(with_environment=False)
    @click.pass_context
    @functools.wraps(function)
    def command(
        context: click.Context,
        /,
        *args: Any,
        admin: str | None,
        ca: str | None,
        token: str | None,
        service: str | None,
        is_json: bool | None,
        **kwargs: Any,
    ) -> Any:
        own = {"admin": admin, "ca": ca, "token": token, "service": service, "is_json": is_json}
        of_group = context.obj or {}
        given: dict[str, Any] = {
            key: of_group.get(key) if value is None else value for key, value in own.items()
        }
        try:
            client = AdminClient(
                given["admin"] or _usual_admin(),
                token=given["token"] or "",
                ca=given["ca"] or "",
            )
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--admin") from None
        session = Session(client, given["service"] or "", bool(given["is_json"]))
        try:
            return function(session, *args, **kwargs)
        except ProblemError as error:
            if session.is_json:
                session.print_json(error.document)
            raise

    return command
