"""Commands that show something: status, history, diff."""

from __future__ import annotations

import click

from bgproxy.commands import text
from bgproxy.commands.explain import explanation_lines
from bgproxy.commands.session import Session, client_command


@click.command()
@click.argument("name", metavar="[SERVICE]", required=False)
@client_command
def status(session: Session, name: str | None) -> None:
    r"""Show who is live, and the health and traffic of both environments.

    \b
    Examples:
      bgproxy status
      bgproxy status shop --json | jq .active
    """
    if name and session.service_name not in ("", name):
        problem = f"SERVICE is {name} and --service {session.service_name}; give one of them"
        raise click.UsageError(problem)
    wanted = name or session.service_name
    if wanted:
        service = session.client.service(wanted)
        if session.is_json:
            session.print_json(service)
            return
        services = [service]
    else:
        services = session.client.services()
        if session.is_json:
            session.print_json({"services": services})
            return
    click.echo("\n\n".join("\n".join(text.service_lines(service)) for service in services))


@click.command()
@click.argument("deployment", metavar="[ID]", type=click.IntRange(min=1), required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@client_command
def history(session: Session, deployment: int | None, limit: int) -> None:
    r"""Show the last deployments, or why the one with this ID ended as it did.

    \b
    Example:
      bgproxy history --limit 5
    """
    name = session.service()["name"]
    if deployment is not None:
        explained = session.client.deployment(name, deployment)
        if session.is_json:
            session.print_json(explained)
        else:
            click.echo("\n".join(explanation_lines(explained)))
        return
    deployments = session.client.history(name, limit)
    if session.is_json:
        session.print_json({"deployments": deployments})
    elif deployments:
        click.echo("\n".join(text.deployment_rows(deployments)))
    else:
        click.echo("no deployments yet")


@click.command()
@client_command
def diff(session: Session) -> None:
    r"""Show where the configuration file and the state differ.

    \b
    Example:
      bgproxy diff --service shop
    """
    document = session.client.diff(session.service()["name"])
    if session.is_json:
        session.print_json(document)
    else:
        click.echo("\n".join(text.diff_lines(document)))
