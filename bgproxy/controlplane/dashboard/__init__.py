"""The dashboard: static files beside this module, read once and served from memory.

No build step, nothing from another address, no inline script: the Content-Security-Policy lets the
page run its own files and talk to its own listener, and nothing else. It holds no secret; the
token that it needs for the API is typed in by whoever looks at it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    etag: str


class Dashboard:
    """All files of the page, by name."""

    __slots__ = ("_files",)

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        for entry in resources.files(__name__).iterdir():
            suffix = entry.name.rpartition(".")[2]
            if suffix in _TYPES:
                body = entry.read_bytes()
                etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
                self._files[entry.name] = _File(body, _TYPES[suffix], etag)

    def respond(self, request: web.Request) -> web.Response:
        """The file that the path names; the page itself for ``/``.

        Raises:
            web.HTTPNotFound: for a name that is not there.
        """
        if request.path == "/":
            name = "index.html"
        elif request.path == "/favicon.ico":
            name = "favicon.svg"
        else:
            name = request.match_info["file"]
        file = self._files.get(name)
        if file is None:
            raise web.HTTPNotFound
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Content-Type": file.content_type,
            "ETag": file.etag,
        }
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, headers=headers)
