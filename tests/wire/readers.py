"""Other people's servers as backends, each telling in JSON how it has read a request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import h11
from aiohttp import ClientSession, web

from tests.dataplane.harness import PATIENCE, Backend
from tests.ports import free_port

_NODE = """
const http = require('http');
const server = http.createServer({maxHeaderSize: 65536}, (request, answer) => {
  const pieces = [];
  request.on('data', piece => pieces.push(piece));
  request.on('end', () => {
    const text = JSON.stringify({
      method: request.method, target: request.url, fields: request.rawHeaders,
      body: Buffer.concat(pieces).toString('latin1'),
    });
    answer.setHeader('Content-Length', Buffer.byteLength(text));
    answer.end(text);
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"""

_NODE_CLIENT = """
const http = require('http');
const agent = new http.Agent({keepAlive: true, maxSockets: 1});
require('readline').createInterface({input: process.stdin}).on('line', port => {
  http.get({port, host: '127.0.0.1', agent, headers: {Host: 'x'}}, answer => {
    const pieces = [];
    answer.on('data', piece => pieces.push(piece));
    answer.on('end', () => console.log(JSON.stringify({
      status: answer.statusCode, fields: answer.rawHeaders,
      body: Buffer.concat(pieces).toString('latin1'),
    })));
  }).on('error', error => console.log(JSON.stringify({status: 0, fields: [], body: error.code})));
});
"""

_NGINX = """
daemon off;
error_log stderr;
pid {folder}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  large_client_header_buffers 8 64k;
  underscores_in_headers on;
  ignore_invalid_headers off;
  merge_slashes off;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{inner};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""

_HAPROXY = """
global
  tune.bufsize 131072
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server inner 127.0.0.1:{inner}
"""


def _told(method: bytes, target: bytes, fields: list[str], body: bytes) -> bytes:
    """A reading as JSON; `fields` alternate between names and values."""
    reading = {
        "method": method.decode("latin-1"),
        "target": target.decode("latin-1"),
        "fields": fields,
        "body": body.decode("latin-1"),
    }
    return json.dumps(reading).encode()


async def _serve_h11(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            fields = [part.decode("latin-1") for pair in head.headers for part in pair]
            text = _told(bytes(head.method), bytes(head.target), fields, body)
            answer = h11.Response(status_code=200, headers=[("Content-Length", str(len(text)))])
            out = [connection.send(answer), connection.send(h11.Data(data=text))]
            writer.write(b"".join(part or b"" for part in out))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()
        else:
            return


async def _aiohttp(request: web.BaseRequest) -> web.StreamResponse:
    fields = [part.decode("latin-1") for pair in request.raw_headers for part in pair]
    target = request._message.path.encode("utf-8", "surrogateescape")
    text = _told(request.method.encode(), target, fields, await request.read())
    return web.Response(body=text)


@contextlib.asynccontextmanager
async def _aiohttp_port() -> AsyncIterator[int]:
    """Its low-level server, which accepts any method."""
    server = web.Server(_aiohttp, max_line_size=65536, max_field_size=65536)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(1.0)


@contextlib.asynccontextmanager
async def _process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


Answer = tuple[int, list[tuple[str, str]], str]
"""A final answer: status, fields as names and values, payload."""

Ask = Callable[[int], Awaitable[Answer]]
"""Sends ``GET /`` to a port and tells how the answer was read."""


def _answer(status: int, fields: Iterable[tuple[bytes, bytes]], body: bytes) -> Answer:
    pairs = [(n.decode("latin-1").lower(), v.strip(b" \t").decode("latin-1")) for n, v in fields]
    return status, sorted(pairs), body.decode("latin-1")


async def _ask_by_h11(port: int) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = h11.Connection(h11.CLIENT)
    writer.write(connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")])))
    connection.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body = b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
    finally:
        writer.close()
    assert head is not None
    return _answer(head.status_code, head.headers.raw_items(), body)


async def _ask_by_aiohttp(port: int) -> Answer:
    async with (
        ClientSession(auto_decompress=False) as session,
        session.get(f"http://127.0.0.1:{port}/", allow_redirects=False) as answer,
    ):
        return _answer(answer.status, answer.raw_headers, await answer.read())


@contextlib.asynccontextmanager
async def _node_client() -> AsyncIterator[Ask]:
    async with _process("node", "-e", _NODE_CLIENT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        async def ask(port: int) -> Answer:
            questions.write(b"%d\n" % port)
            told = json.loads(await answers.readline())
            parts = [part.encode("latin-1") for part in told["fields"]]
            pairs = zip(parts[::2], parts[1::2], strict=True)
            return _answer(told["status"], pairs, told["body"].encode("latin-1"))

        yield ask


@contextlib.asynccontextmanager
async def answer_reader(name: str, proxy: int) -> AsyncIterator[Ask]:
    """Run a reader of answers.

    Args:
        name: ``h11``, ``aiohttp`` or ``node``; ``nginx`` or ``haproxy`` before us, read by h11.
        proxy: the port that will be asked.
    """
    if name == "h11":
        yield _ask_by_h11
    elif name == "aiohttp":
        yield _ask_by_aiohttp
    elif name == "node":
        async with _node_client() as ask:
            yield ask
    else:
        async with front_port(name, proxy) as front:
            yield lambda _: _ask_by_h11(front)


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def _write_config(name: str, folder: str, port: int, inner: int) -> str:
    """The file of a proxy that stands before h11 and so shows how it has read."""
    file = Path(folder, "reader.conf")
    text = _NGINX if name == "nginx" else _HAPROXY
    file.write_text(text.format(folder=folder, port=port, inner=inner), encoding="ascii")
    return str(file)


@contextlib.asynccontextmanager
async def reader_port(name: str) -> AsyncIterator[int]:
    """Run a reader; its port.

    Args:
        name: ``h11``, ``aiohttp``, ``node``, ``nginx`` or ``haproxy``.
    """
    async with contextlib.AsyncExitStack() as stack:
        if name == "h11":
            yield (await Backend(_serve_h11).start()).port
            return
        if name == "node":
            process = await stack.enter_async_context(_process("node", "-e", _NODE))
            assert process.stdout is not None
            yield int(await process.stdout.readline())
            return
        if name == "aiohttp":
            yield await stack.enter_async_context(_aiohttp_port())
            return
        inner = (await Backend(_serve_h11).start()).port
        yield await stack.enter_async_context(front_port(name, inner))


@contextlib.asynccontextmanager
async def front_port(name: str, inner: int) -> AsyncIterator[int]:
    """Run ``nginx`` or ``haproxy`` before a port; its own."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        file = _write_config(name, folder, port, inner)
        flag = "-c" if name == "nginx" else "-f"
        async with _process(name, flag, file):
            await _until_listening(port)
            yield port
