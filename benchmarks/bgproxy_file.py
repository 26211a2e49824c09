"""bgproxy's configuration for measurements; JSON, which is YAML as well."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLORS = ("blue", "green")


@dataclass(frozen=True, slots=True)
class BgproxyFile:
    """One configuration; ports are of 127.0.0.1.

    Args:
        port: where requests arrive.
        admin: port of the admin API.
        blue, green: ports of the environments' backends.
        tls_port: where they arrive over TLS as well, with `certificate` and `key`; 0 for nowhere.
        access_log: file to write one to, or None.
        services: how many there are, the first for any host, each other for one of its own.
        health: of each service.
    """

    port: int
    admin: int
    blue: Sequence[int]
    green: Sequence[int]
    workers: int = 1
    tls_port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    access_log: Path | None = None
    services: int = 1
    health: Mapping[str, str | int] = field(default_factory=dict)

    def write(self, folder: Path) -> str:
        """Write it into a folder, where the state will be as well. Returns its path."""
        file = folder / "bgproxy.yaml"
        file.write_text(json.dumps(self._document(folder)))
        return str(file)

    def _document(self, folder: Path) -> dict[str, Any]:
        listen: list[Any] = [f"127.0.0.1:{self.port}"]
        if self.tls_port:
            files = {"certificate": str(self.certificate), "key": str(self.key)}
            address = f"127.0.0.1:{self.tls_port}"
            listen.append({"address": address, "tls": {"certificates": [files]}})
        proxy: dict[str, Any] = {"listen": listen, "workers": self.workers}
        if self.access_log:
            proxy["access_log"] = {"path": str(self.access_log)}
        environments = {
            color: {"backends": [f"http://127.0.0.1:{port}" for port in ports]}
            for color, ports in zip(COLORS, (self.blue, self.green), strict=True)
        }
        service: dict[str, Any] = {"environments": environments}
        if self.health:
            service["health"] = dict(self.health)
        services = {"default": {"hosts": ["*"], **service}}
        for number in range(1, self.services):
            services[f"service-{number}"] = {"hosts": [host_of(number)], **service}
        return {
            "proxy": proxy,
            "admin": {"listen": f"127.0.0.1:{self.admin}"},
            "state": f"{folder}/bgproxy.db",
            "services": services,
        }


def host_of(number: int) -> str:
    """The host of one of many services; 0 is the one that answers for all others."""
    return f"service-{number}.example.com"
