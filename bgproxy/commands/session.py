"""What every client command starts from: where the admin API is, who asks, which service."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from bgproxy.client import DEFAULT_ADMIN, AdminClient, ProblemError, ServiceDocument
from bgproxy.local_socket import find_socket

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


def shared_options(*, with_environment: bool) -> Callable[[_Command], _Command]:
    """``--admin`` and the other options that all share, before or after the subcommand.

    Args:
        with_environment: read BGPROXY_ADMIN, BGPROXY_CA and BGPROXY_TOKEN too. Only the group
            does: a flag given to the group must not lose against a variable read by the subcommand.
    """
    admin_variable = "BGPROXY_ADMIN" if with_environment else None
    ca_variable = "BGPROXY_CA" if with_environment else None
    token_variable = "BGPROXY_TOKEN" if with_environment else None
    options = (
        click.option(
            "--admin",
            metavar="URL",
            envvar=admin_variable,
            help="Where the admin API is: http://host:port, https://host:port or unix:/path (or "
            "BGPROXY_ADMIN; if neither is given the socket of the proxy on this machine, else "
            f"{DEFAULT_ADMIN}).",
        ),
        click.option(
            "--ca",
            metavar="FILE",
            envvar=ca_variable,
            help="PEM file of the authorities to trust an https address by (or BGPROXY_CA).",
        ),
        click.option(
            "--token",
            envvar=token_variable,
            callback=_hide_token,
            help="Bearer token (better in BGPROXY_TOKEN).",
        ),
        click.option(
            "--service", metavar="NAME", help="Which service; not needed if there is one."
        ),
        click.option("--json", "is_json", is_flag=True, default=None, help="Print JSON."),
    )

    def decorate(function: _Command) -> _Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _hide_token(
    context: click.Context, parameter: click.Parameter, token: str | None
) -> str | None:
    """Take a token that was typed out of the list of processes, which every user can read."""
    is_typed = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if token and is_typed:
        from setproctitle import setproctitle

        setproctitle(" ".join(sys.argv).replace(token, "***"))
    return token


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
