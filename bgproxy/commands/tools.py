"""Small helpers for images, shells and bug reports: healthcheck, completion, version."""

from __future__ import annotations

import platform

import click
from click.shell_completion import get_completion_class

from bgproxy import __version__
from bgproxy.commands.session import Session, client_command


@click.command()
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
@client_command
def healthcheck(session: Session, ready: bool) -> None:
    r"""Ask a running proxy how it is; the exit status is the answer.

    For container images, which have no curl.

    \b
    Example:
      bgproxy healthcheck --ready
    """
    if ready:
        session.client.is_ready()
    else:
        session.client.is_alive()
    click.echo("ready" if ready else "alive")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""Print the completion script of a SHELL.

    \b
    Example, in ~/.bashrc:
      eval "$(bgproxy completion bash)"
    """
    script = get_completion_class(shell)
    assert script is not None  # the choice above names only shells that click knows
    command = context.find_root().command
    click.echo(script(command, {}, "bgproxy", "_BGPROXY_COMPLETE").source())


@click.command()
def version() -> None:
    r"""Print the version, Python's, and whether the path of requests is compiled.

    \b
    Example:
      bgproxy version
    """
    from bgproxy.protocol.head import SCANNER

    python = platform.python_version()
    click.echo(f"bgproxy {__version__}, Python {python}, head scanner: {SCANNER}")
