"""The link that lets a browser into a preview."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from bgproxy import units
from bgproxy.commands.serve import config_option

if TYPE_CHECKING:
    from bgproxy.config.settings import Settings
    from bgproxy.domain.model import Service


@click.command("preview-link")
@config_option
@click.option("--service", metavar="NAME", help="The service; the one with a cookie by default.")
@click.option("--valid", default="1h", show_default=True, help="How long the link can be opened.")
@click.option("--base", metavar="URL", help="Scheme and host that browsers use for the service.")
@click.option("--to", default="/", show_default=True, metavar="PATH", help="Where it leads.")
def preview_link(config: Path, service: str | None, valid: str, base: str | None, to: str) -> None:
    r"""Print a link that shows whoever opens it the idle environment.

    It sets a cookie, which has a lifetime of its own. Made from the configuration file alone: the
    proxy need not run.

    \b
    Example:
      bgproxy preview-link -c bgproxy.yaml --valid 8h --to /basket
    """
    from bgproxy.config.load import load_config
    from bgproxy.domain.preview import Purpose, sign

    settings = load_config(config, os.environ)
    found = _service(settings, service)
    cookie = found.preview.cookie if found.preview is not None else None
    if cookie is None:
        raise click.UsageError(f"{found.name} has no preview.cookie.secret")
    try:
        expires = time.time() + units.parse_duration(valid)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--valid") from None
    token = sign(cookie.secret, found.name, Purpose.LINK, expires)
    host = found.plain_host or settings.proxy.listen[0]
    path = f"{cookie.path}?token={token}" + ("" if to == "/" else f"&to={quote(to)}")
    click.echo(f"{(base or f'http://{host}').rstrip('/')}{path}")


def _service(settings: Settings, name: str | None) -> Service:
    """The service that is meant."""
    services = {service.name: service for service in settings.services}
    if name is not None:
        if name not in services:
            raise click.UsageError(f"no service is named {name}")
        return services[name]
    fitting = [s for s in services.values() if s.preview is not None and s.preview.cookie]
    if len(fitting) != 1:
        names = ", ".join(s.name for s in fitting)
        problem = (
            f"several services have a preview with a cookie: {names}"
            if fitting
            else ("no service has a preview with a cookie")
        )
        raise click.UsageError(f"{problem}; name one with --service" if fitting else problem)
    return fitting[0]
