"""The command line: `bgproxy COMMAND`, or `python -m bgproxy COMMAND`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from bgproxy import __version__
from bgproxy.client import ProblemError, UnreachableError
from bgproxy.commands import (
    audit,
    change,
    drill,
    look,
    maintenance,
    permits,
    preview,
    run_while_active,
    serve,
    simulate,
    telling,
    text,
    token,
    tools,
    watch,
    why,
)
from bgproxy.commands.session import shared_options
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
        except ProblemError as error:
            lines = text.problem_lines(error.document)
            status = WRONG_USAGE if error.status == _DOES_NOT_FIT else REFUSED
            _fail("\n".join(["refused: " + lines[0], *lines[1:]]), status)
        except UnreachableError as error:
            _fail(str(error), UNREACHABLE)
        except ConfigError as error:
            _fail(str(error), WRONG_USAGE)
        except BgproxyError as error:
            _fail(str(error), REFUSED)


def _fail(message: str, status: int) -> None:
    click.echo(message, err=True)
    sys.exit(status)


@click.group(
    cls=_Commands,
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


for command in (
    serve.run,
    serve.check,
    serve.demo,
    simulate.simulation,
    look.status,
    change.switch,
    change.rollback,
    change.verify,
    permits.lock,
    permits.unlock,
    permits.approve,
    permits.reject,
    telling.notify,
    run_while_active.run_while_active,
    drill.drill,
    change.pause,
    change.resume,
    change.backends,
    maintenance.maintenance,
    look.history,
    audit.audit,
    look.diff,
    watch.watch,
    why.why,
    preview.preview_link,
    token.token,
    tools.healthcheck,
    tools.completion,
    tools.version,
):
    # Raw docstrings hold click's mark for "do not wrap" as two characters.
    for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
        one.help = (one.help or "").replace("\\b\n", "\b\n")
    main.add_command(command)
