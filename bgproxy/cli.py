"""The command line: `bgproxy COMMAND`, or `python -m bgproxy COMMAND`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from bgproxy import __version__
from bgproxy.commands.catalogue import Catalogue
from bgproxy.commands.options import shared_options
from bgproxy.errors import BgproxyError, ConfigError

REFUSED = 1
WRONG_USAGE = 2
UNREACHABLE = 3
_DOES_NOT_FIT = 422


class _Commands(click.Group):
    """A group whose exit status says what went wrong."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BgproxyError as error:
            message, status = _told(error)
            click.echo(message, err=True)
            sys.exit(status)


def _told(error: BgproxyError) -> tuple[str, int]:
    """What is said of an error, and the exit status."""
    if isinstance(error, ConfigError):
        return str(error), WRONG_USAGE
    # Not before there is an error: a command that has none may well do without the client.
    from bgproxy.client import ProblemError, UnreachableError
    from bgproxy.commands import text

    if isinstance(error, ProblemError):
        lines = text.problem_lines(error.document)
        status = WRONG_USAGE if error.status == _DOES_NOT_FIT else REFUSED
        return "\n".join(["refused: " + lines[0], *lines[1:]]), status
    return str(error), UNREACHABLE if isinstance(error, UnreachableError) else REFUSED


@click.group(
    cls=_Commands,
    commands=Catalogue(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration, "
    "3 the admin API cannot be reached.",
)
@shared_options(with_environment=True)
@click.version_option(__version__, prog_name="bgproxy")
@click.pass_context
def main(context: click.Context, /, **shared: Any) -> None:
    """A blue-green reverse proxy: switch a service between two environments, losing nothing."""
    context.obj = shared
    if os.environ.get("NO_COLOR"):
        context.color = False
