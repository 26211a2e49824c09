"""The options that client commands share; imports nothing of what they do with them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from bgproxy.local_socket import DEFAULT_ADMIN

_Command = Callable[..., Any]


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
