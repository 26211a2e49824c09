"""What each compared proxy is told: the configuration that a careful user would give it.

All keep connections to the backend, set X-Forwarded-For, -Proto and -Host, keep Host, let
WebSockets through, end TLS, buffer no request body, and have one worker on one core. Health checks
run where the program has active ones for free (bgproxy, HAProxy). Each function writes what the
program reads and returns the command that starts it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from benchmarks.bgproxy_file import BgproxyFile
from benchmarks.programs import find_program
from benchmarks.site import Site

Command = Sequence[str]


def bgproxy(site: Site, *, has_log: bool = False) -> Command:
    """Every feature on."""
    file = BgproxyFile(
        port=site.port,
        admin=site.admin,
        blue=[site.backend],
        green=[site.other_backend],
        tls_port=site.tls_port,
        certificate=site.certificate.chain,
        key=site.certificate.key,
        access_log=site.folder / "access.log" if has_log else None,
    )
    return [sys.executable, "-m", "bgproxy", "run", "-c", file.write(site.folder)]


def bgproxy_plain(site: Site) -> Command:
    """Without the compiled scanner."""
    return ["env", "BGPROXY_SCANNER=python", *bgproxy(site)]


def bgproxy_logging(site: Site) -> Command:
    """With an access log."""
    return bgproxy(site, has_log=True)


def nginx(site: Site, *, active: str = "blue", has_log: bool = False) -> Command:
    """`active` is the environment that gets the traffic; a log is collected for up to a second."""
    folder = site.folder
    access_log = f"{folder}/access.log combined buffer=64k flush=1s" if has_log else "off"
    configuration = f"""\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 16384; }}
http {{
  access_log {access_log};
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  upstream blue {{
    server 127.0.0.1:{site.backend};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  upstream green {{
    server 127.0.0.1:{site.other_backend};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{site.port} backlog=4096;
    listen 127.0.0.1:{site.tls_port} ssl backlog=4096;
    ssl_certificate {site.certificate.chain};
    ssl_certificate_key {site.certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:10m;
    location / {{
      proxy_pass http://{active};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
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
    file = site.write("nginx.conf", configuration)
    return [find_program("nginx") or "nginx", "-p", str(folder), "-e", "stderr", "-c", file]


def nginx_logging(site: Site) -> Command:
    """With an access log."""
    return nginx(site, has_log=True)


def haproxy(site: Site, *, has_log: bool = False, is_switched: bool = False) -> Command:
    """With a map that names the active environment, and a socket to change it, if `is_switched`."""
    log = "log stdout format raw local0" if has_log else "# no log"
    socket = f"stats socket {site.folder}/admin.sock level admin" if is_switched else ""
    names = site.write("active.map", "active blue\n")
    active = f"%[str(active),map({names},blue)]" if is_switched else "blue"
    rule = "use_backend" if is_switched else "default_backend"
    configuration = f"""\
global
  nbthread 1
  maxconn 8192
  {log}
  {socket}
defaults
  mode http
  {"log global" if has_log else ""}
  {"option httplog" if has_log else ""}
  timeout connect 2s
  timeout client 75s
  timeout server 60s
  timeout tunnel 1h
  option forwardfor
  http-reuse always
frontend traffic
  bind 127.0.0.1:{site.port} backlog 4096
  bind 127.0.0.1:{site.tls_port} ssl crt {site.certificate.both} backlog 4096
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  {rule} {active}
backend blue
  option httpchk GET /healthz
  server one 127.0.0.1:{site.backend} check inter 2s
backend green
  option httpchk GET /healthz
  server one 127.0.0.1:{site.other_backend} check inter 2s
"""
    file = site.write("haproxy.cfg", configuration)
    return [find_program("haproxy") or "haproxy", "-db", "-f", file]


def haproxy_logging(site: Site) -> Command:
    """With an access log on the standard output, which is a file."""
    return haproxy(site, has_log=True)


def caddy_document(site: Site, *, active: str = "blue") -> str:
    """Caddy's own form of configuration, JSON, with its admin API at `site.admin`."""
    port = site.backend if active == "blue" else site.other_backend
    transport = {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 128}}
    handler = {
        "handler": "reverse_proxy",
        "transport": transport,
        "upstreams": [{"dial": f"127.0.0.1:{port}"}],
    }
    routes = [{"handle": [handler]}]
    off = {"disable": True}
    plain = {"listen": [f"127.0.0.1:{site.port}"], "automatic_https": off, "routes": routes}
    tls = {
        "listen": [f"127.0.0.1:{site.tls_port}"],
        "automatic_https": off,
        "routes": routes,
        "tls_connection_policies": [{}],
        "protocols": ["h1", "h2"],
    }
    files = {"certificate": str(site.certificate.chain), "key": str(site.certificate.key)}
    return json.dumps(
        {
            "admin": {"listen": f"127.0.0.1:{site.admin}", "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {
                "http": {"servers": {"plain": plain, "tls": tls}},
                "tls": {"certificates": {"load_files": [files]}},
            },
        }
    )


def caddy(site: Site) -> Command:
    """One processor's worth of it: `GOMAXPROCS` is set where servers are started."""
    file = site.write("caddy.json", caddy_document(site))
    return [find_program("caddy") or "caddy", "run", "--config", file]


def traefik_routes(site: Site, *, active: str = "blue") -> str:
    """What Traefik's file provider reads, and reads again when it changes."""
    port = site.backend if active == "blue" else site.other_backend
    files = {"certFile": str(site.certificate.chain), "keyFile": str(site.certificate.key)}
    balancer = {"servers": [{"url": f"http://127.0.0.1:{port}"}], "serversTransport": "pool"}
    rule = "PathPrefix(`/`)"
    routers = {
        "plain": {"rule": rule, "service": "active", "entryPoints": ["traffic"]},
        "tls": {"rule": rule, "service": "active", "entryPoints": ["tls"], "tls": {}},
    }
    return json.dumps(
        {
            "http": {
                "routers": routers,
                "services": {"active": {"loadBalancer": balancer}},
                "serversTransports": {"pool": {"maxIdleConnsPerHost": 128}},
            },
            "tls": {"certificates": [files]},
        }
    )


def traefik(site: Site) -> Command:
    """Routes in a file of their own, which is watched."""
    routes = site.write("traefik-routes.yml", traefik_routes(site))
    configuration = f"""\
entryPoints:
  traffic: {{address: "127.0.0.1:{site.port}"}}
  tls: {{address: "127.0.0.1:{site.tls_port}"}}
providers:
  providersThrottleDuration: 0s
  file: {{filename: {routes}, watch: true}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
"""
    file = site.write("traefik.yml", configuration)
    return [find_program("traefik") or "traefik", f"--configFile={file}"]


def envoy(site: Site) -> Command:
    """One worker thread."""

    def address(number: int) -> dict[str, object]:
        return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": number}}}

    def typed(kind: str, **settings: object) -> dict[str, object]:
        return {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **settings}

    router = {"name": "router", "typed_config": typed("filters.http.router.v3.Router")}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "blue"}}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="traffic",
        use_remote_address=True,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[router],
    )
    filters = [{"name": "http", "typed_config": manager}]
    files = {
        "certificate_chain": {"filename": str(site.certificate.chain)},
        "private_key": {"filename": str(site.certificate.key)},
    }
    tls = typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={"tls_certificates": [files]},
    )
    secured = {"filters": filters, "transport_socket": {"name": "tls", "typed_config": tls}}
    listeners = [
        {**address(site.port), "filter_chains": [{"filters": filters}]},
        {**address(site.tls_port), "filter_chains": [secured]},
    ]
    endpoints = [{"lb_endpoints": [{"endpoint": address(site.backend)}]}]
    cluster = {
        "name": "blue",
        "connect_timeout": "2s",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "blue", "endpoints": endpoints},
    }
    resources = {"static_resources": {"listeners": listeners, "clusters": [cluster]}}
    program = find_program("envoy") or "envoy"
    file = site.write("envoy.json", json.dumps(resources))
    # Without a base id of its own a second Envoy on the machine would not start.
    return [
        program,
        "-c",
        file,
        "--concurrency",
        "1",
        "--log-level",
        "error",
        "--use-dynamic-base-id",
    ]


def relay(site: Site) -> Command:
    """The floor; knows nothing of TLS."""
    return [sys.executable, "-m", "benchmarks.blind_relay", str(site.port), str(site.backend)]


def aiohttp(site: Site) -> Command:
    """The usual Python proxy."""
    ports = [str(site.port), str(site.backend), str(site.tls_port)]
    files = [str(site.certificate.chain), str(site.certificate.key)]
    return [sys.executable, "-m", "benchmarks.aiohttp_proxy", *ports, *files]
