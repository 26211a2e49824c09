"""The command that says why a request ended as it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from bgproxy.commands import text
from bgproxy.commands.session import Session, client_command


@click.command()
@click.argument("request_id")
@client_command
def why(session: Session, request_id: str) -> None:
    r"""Say where the request REQUEST_ID went and how it ended.

    The id is that of X-Request-Id, in the backend's log, the access log, or a deployment's samples.
    Failed and refused requests are remembered, others with proxy.request_ring.

    \b
    Example:
      bgproxy why 5f2b6c1d9e4a1f3
    """
    document = session.client.request(request_id)
    if session.is_json:
        session.print_json(document)
    else:
        click.echo("\n".join(line for one in document["requests"] for line in _lines(one)))


def _lines(request: Mapping[str, Any]) -> Iterator[str]:
    outcome, milliseconds = _outcome(request["outcome"]), request["seconds"] * 1000
    yield (
        f"{text.moment(request['at'])}  {request['method']} {request['path']}: "
        f"{request['status']}, {outcome}, in {milliseconds:.1f} ms"
    )
    if request["environment"] is None:
        where = f"service {request['service']}" if request["service"] else "no service"
        yield f"  {where}: the proxy answered it before an environment was chosen"
        return
    line = f"  {request['service']}: {text.environment_name(request['environment'])}"
    if request["backend"]:
        line += f", backend {request['backend']}, generation {request['generation']}"
    else:
        line += ", which had no room for it"
    if request["deployment"]:
        line += f" (deployment {request['deployment']})"
    yield line


def _outcome(outcome: str) -> str:
    if outcome == "ok":
        return click.style("went well", fg="green")
    return click.style(outcome.replace("_", " "), fg="red")
