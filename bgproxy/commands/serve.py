"""Commands that run or prepare a proxy on this machine: run, check, demo."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import click

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar="BGPROXY_CONFIG",
    show_envvar=True,
    help="The YAML file.",
)


@click.command()
@config_option
def run(config: Path) -> None:
    r"""Run the proxy in the foreground.

    TERM and INT stop it after draining; HUP reads the configuration again.

    \b
    Example:
      bgproxy run -c bgproxy.yaml
    """
    from bgproxy.recruits import recruited

    gc.disable()  # nothing that is loaded is ever garbage; on again once everything is up
    with recruited(config) as recruits:  # they load while the supervisor does
        import bgproxy.event_log  # noqa: F401 - before anything else loads structlog
        from bgproxy import supervisor

        status = supervisor.run(config, recruits)
    sys.exit(status)


@click.command()
@config_option
def check(config: Path) -> None:
    r"""Validate the file and print what it means; nothing is started.

    \b
    Example:
      bgproxy check -c bgproxy.yaml
    """
    from bgproxy.config.describe import describe
    from bgproxy.config.load import load_config

    click.echo(describe(load_config(config, os.environ)))


@click.command()
@click.option("--listen", metavar="ADDRESS:PORT", help="Where the proxy listens.")
@click.option("--admin-listen", "admin", metavar="ADDRESS:PORT", help="Where its admin API does.")
def demo(listen: str | None, admin: str | None) -> None:
    r"""Start two sample applications, blue and green, and the proxy before them.

    \b
    Example:
      bgproxy demo --listen 127.0.0.1:9000
    """
    from bgproxy.demo import run_demo

    sys.exit(run_demo(listen, admin))
