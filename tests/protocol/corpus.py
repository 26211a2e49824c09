"""Heads as common clients and servers send them, written down from their source or a capture."""

from __future__ import annotations


def head(*lines: str) -> bytes:
    """Lines as a head, with the empty line that ends it."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


_CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Safari/537.36"
)
_NAVIGATION = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
    "*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)

BROWSER = head(
    "GET /assets/products/1234567?ref=home&page=2 HTTP/1.1",
    "Host: shop.example.com",
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "Upgrade-Insecure-Requests: 1",
    f"User-Agent: {_CHROME}",
    f"Accept: {_NAVIGATION}",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Referer: https://shop.example.com/",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9,de;q=0.8",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1",
)

REQUESTS: dict[str, bytes] = {
    "chrome page": BROWSER,
    "chrome fetch": head(
        "POST /api/cart HTTP/1.1",
        "Host: shop.example.com",
        "Connection: keep-alive",
        "Content-Length: 17",
        'sec-ch-ua-platform: "Windows"',
        f"User-Agent: {_CHROME}",
        "Content-Type: application/json",
        "Accept: */*",
        "Origin: https://shop.example.com",
        "Sec-Fetch-Site: same-origin",
        "Accept-Encoding: gzip, deflate, br, zstd",
    ),
    "chrome preflight": head(
        "OPTIONS /api/cart HTTP/1.1",
        "Host: api.example.com",
        "Connection: keep-alive",
        "Accept: */*",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: content-type",
        "Origin: https://shop.example.com",
        f"User-Agent: {_CHROME}",
        "Sec-Fetch-Mode: cors",
    ),
    "chrome event source": head(
        "GET /events HTTP/1.1",
        "Host: localhost:8080",
        "Connection: keep-alive",
        "Cache-Control: no-cache",
        "Accept: text/event-stream",
        "Last-Event-ID: 41",
    ),
    "firefox": head(
        "GET / HTTP/1.1",
        "Host: www.example.org",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: en-US,en;q=0.5",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Connection: keep-alive",
        "Upgrade-Insecure-Requests: 1",
        "Priority: u=0, i",
        "If-Modified-Since: Tue, 24 Nov 2026 11:00:00 GMT",
        'If-None-Match: "6745-264"',
    ),
    "safari": head(
        "GET /image.png HTTP/1.1",
        "Host: cdn.example.org",
        "Accept: image/webp,image/avif,image/jxl,image/heic,video/*;q=0.8,image/png,*/*;q=0.5",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive",
        "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/17.5 Safari/605.1.15",
        "Accept-Language: en-GB,en;q=0.9",
        "Range: bytes=0-1023",
    ),
    "curl": head(
        "GET / HTTP/1.1", "Host: localhost:8080", "User-Agent: curl/7.88.1", "Accept: */*"
    ),
    "curl form": head(
        "POST /form HTTP/1.1",
        "Host: localhost:8080",
        "User-Agent: curl/8.10.1",
        "Accept: */*",
        "Content-Length: 7",
        "Content-Type: application/x-www-form-urlencoded",
    ),
    "curl upload from a pipe": head(
        "PUT /up HTTP/1.1",
        "Host: localhost:8080",
        "User-Agent: curl/8.10.1",
        "Accept: */*",
        "Transfer-Encoding: chunked",
    ),
    "curl head": head(
        "HEAD / HTTP/1.1", "Host: 127.0.0.1", "User-Agent: curl/7.88.1", "Accept: */*"
    ),
    "wget": head(
        "GET /f.tar.gz HTTP/1.1",
        "Host: example.org",
        "User-Agent: Wget/1.21.3",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: Keep-Alive",
    ),
    "python requests": head(
        "GET /v1/items HTTP/1.1",
        "Host: api.example.com",
        "User-Agent: python-requests/2.32.3",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc-_",
    ),
    "python aiohttp": head(
        "POST /v1/items HTTP/1.1",
        "Host: api.example.com:8443",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: Python/3.11 aiohttp/3.14.5",
        "Content-Length: 2",
        "Content-Type: application/json",
    ),
    "python httpx": head(
        "DELETE /v1/items/7 HTTP/1.1",
        "Host: api.example.com",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive",
        "User-Agent: python-httpx/0.28.1",
    ),
    "go": head(
        "GET /healthz HTTP/1.1",
        "Host: 10.0.0.7:8080",
        "User-Agent: Go-http-client/1.1",
        "Accept-Encoding: gzip",
    ),
    "go stream": head(
        "POST /ingest HTTP/1.1",
        "Host: 10.0.0.7:8080",
        "User-Agent: Go-http-client/1.1",
        "Transfer-Encoding: chunked",
        "Accept-Encoding: gzip",
    ),
    "kubernetes probe": head(
        "GET /healthz HTTP/1.1",
        "Host: 10.1.2.3:8080",
        "User-Agent: kube-probe/1.31",
        "Accept: */*",
        "Connection: close",
    ),
    "node undici": head(
        "GET /api HTTP/1.1",
        "host: localhost:3000",
        "connection: keep-alive",
        "accept: */*",
        "accept-language: *",
        "sec-fetch-mode: cors",
        "user-agent: node",
        "accept-encoding: gzip, deflate",
    ),
    "node undici stream": head(
        "POST /api HTTP/1.1",
        "host: localhost:3000",
        "connection: keep-alive",
        "transfer-encoding: chunked",
        "content-type: application/octet-stream",
        "user-agent: node",
    ),
    "axios": head(
        "PATCH /api/1 HTTP/1.1",
        "Accept: application/json, text/plain, */*",
        "Content-Type: application/json",
        "User-Agent: axios/1.7.7",
        "Content-Length: 13",
        "Accept-Encoding: gzip, compress, deflate, br",
        "Host: localhost:3000",
        "Connection: keep-alive",
    ),
    "java okhttp": head(
        "GET /v2/feed HTTP/1.1",
        "Host: mobile.example.com",
        "Connection: Keep-Alive",
        "Accept-Encoding: gzip",
        "User-Agent: okhttp/4.12.0",
    ),
    "java apache": head(
        "PUT /doc HTTP/1.1",
        "Content-Length: 42",
        "Content-Type: text/plain; charset=ISO-8859-1",
        "Host: es-node_1:9200",
        "Connection: Keep-Alive",
        "User-Agent: Apache-HttpClient/4.5.14 (Java/17.0.9)",
        "Accept-Encoding: gzip,deflate",
    ),
    "dotnet": head("GET /weather HTTP/1.1", "Host: localhost:5000", "traceparent: 00-0af7-b7ad-01"),
    "ios": head(
        "GET /me HTTP/1.1",
        "Host: api.example.com",
        "Accept: */*",
        "User-Agent: Shop/3.1 CFNetwork/1568.100.1 Darwin/24.0.0",
        "Accept-Language: fr-FR,fr;q=0.9",
        "Accept-Encoding: gzip, deflate, br",
        "Connection: keep-alive",
    ),
    "crawler": head(
        "GET /robots.txt HTTP/1.1",
        "Host: www.example.com",
        "Connection: keep-alive",
        "Accept: text/plain,text/html,*/*",
        "From: googlebot(at)googlebot.com",
        "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Accept-Encoding: gzip, deflate, br",
    ),
    "wrk": head("GET / HTTP/1.1", "Host: 127.0.0.1:8080"),
    "hey": head(
        "GET / HTTP/1.1",
        "Host: 127.0.0.1:8080",
        "User-Agent: hey/0.0.1",
        "Content-Length: 0",
        "Content-Type: text/html",
        "Accept-Encoding: gzip",
    ),
    "behind nginx": head(
        "GET / HTTP/1.1",
        "Host: www.example.com",
        "X-Real-IP: 203.0.113.9",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "Connection: close",
        "User-Agent: curl/8.10.1",
        "Accept: */*",
    ),
    "behind an AWS balancer": head(
        "GET / HTTP/1.1",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443",
        "Host: www.example.com",
        "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678",
        f"user-agent: {_CHROME}",
        "accept-encoding: gzip",
    ),
    "behind Envoy": head(
        "GET /x HTTP/1.1",
        "host: www.example.com",
        "x-request-id: 8e6b1c3a-2f0e-4c3a-9d1c-1f2e3d4c5b6a",
        "x-forwarded-proto: https",
        "x-forwarded-for: 203.0.113.9, 10.0.0.1",
        "x-envoy-expected-rq-timeout-ms: 15000",
        "accept: */*",
    ),
}
"""By client, what the scanner should answer for."""

ODD_REQUESTS: dict[str, bytes] = {
    "apache bench": head(
        "GET / HTTP/1.0",
        "Connection: Keep-Alive",
        "Host: 127.0.0.1:8080",
        "User-Agent: ApacheBench/2.3",
        "Accept: */*",
    ),
    "websocket": head(
        "GET /ws HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
    "curl large upload": head(
        "PUT /up HTTP/1.1", "Host: a", "Content-Length: 9999999", "Expect: 100-continue"
    ),
    "grpc-web": head("POST /s/M HTTP/1.1", "Host: a", "TE: trailers", "Content-Length: 5"),
    "curl through a proxy": head(
        "GET http://a.example/x HTTP/1.1", "Host: a.example", "Proxy-Connection: Keep-Alive"
    ),
}
"""By client, what is for the reference."""

RESPONSES: dict[str, bytes] = {
    "nginx": head(
        "HTTP/1.1 200 OK",
        "Server: nginx/1.22.1",
        "Date: Tue, 24 Nov 2026 12:00:00 GMT",
        "Content-Type: text/html",
        "Content-Length: 612",
        "Last-Modified: Tue, 24 Nov 2026 11:00:00 GMT",
        "Connection: keep-alive",
        'ETag: "6745-264"',
        "Accept-Ranges: bytes",
    ),
    "nginx in chunks": head(
        "HTTP/1.1 200 OK",
        "Server: nginx",
        "Content-Type: text/html; charset=utf-8",
        "Transfer-Encoding: chunked",
        "Connection: keep-alive",
        "Vary: Accept-Encoding",
        "Content-Encoding: gzip",
    ),
    "uvicorn": head(
        "HTTP/1.1 200 OK",
        "date: Tue, 24 Nov 2026 12:00:00 GMT",
        "server: uvicorn",
        "content-length: 27",
        "content-type: application/json",
    ),
    "uvicorn in chunks": head(
        "HTTP/1.1 200 OK",
        "server: uvicorn",
        "content-type: text/event-stream; charset=utf-8",
        "transfer-encoding: chunked",
    ),
    "gunicorn": head(
        "HTTP/1.1 200 OK",
        "Server: gunicorn",
        "Date: Tue, 24 Nov 2026 12:00:00 GMT",
        "Connection: close",
        "Content-Type: text/html; charset=utf-8",
        "X-Frame-Options: DENY",
        "Content-Length: 4812",
        "Set-Cookie: csrftoken=abc; expires=Tue, 23 Nov 2027 12:00:00 GMT; Path=/; SameSite=Lax",
        "Set-Cookie: sessionid=def; HttpOnly; Path=/",
    ),
    "node": head(
        "HTTP/1.1 200 OK",
        "X-Powered-By: Express",
        "Content-Type: application/json; charset=utf-8",
        "Content-Length: 15",
        'ETag: W/"f-abc"',
        "Date: Tue, 24 Nov 2026 12:00:00 GMT",
        "Connection: keep-alive",
        "Keep-Alive: timeout=5",
    ),
    "go": head(
        "HTTP/1.1 404 Not Found",
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        "Date: Tue, 24 Nov 2026 12:00:00 GMT",
        "Content-Length: 19",
    ),
    "spring": head(
        "HTTP/1.1 200 ",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        "Date: Tue, 24 Nov 2026 12:00:00 GMT",
        "Keep-Alive: timeout=60",
        "Connection: keep-alive",
    ),
    "kestrel": head(
        "HTTP/1.1 500 Internal Server Error",
        "Content-Length: 0",
        "Date: Tue, 24 Nov 2026 12:00:00 GMT",
        "Server: Kestrel",
    ),
    "puma redirect": head(
        "HTTP/1.1 302 Found",
        "location: https://example.com/sign_in",
        "content-type: text/html; charset=utf-8",
        "cache-control: no-cache",
        "x-request-id: 3b0c",
        "x-runtime: 0.012",
        "Content-Length: 104",
    ),
    "not modified": head("HTTP/1.1 304 Not Modified", "Server: nginx", 'ETag: "6745-264"'),
    "until close": head("HTTP/1.1 200 OK", "Content-Type: text/plain", "Connection: close"),
}
"""By server, what the scanner should answer for."""

ODD_RESPONSES: dict[str, bytes] = {
    "python http.server": head(
        "HTTP/1.0 200 OK", "Server: SimpleHTTP/0.6 Python/3.11.7", "Content-Length: 20"
    ),
    "no content": head("HTTP/1.1 204 No Content", "Server: x", "Content-Length: 0"),
    "continue": head("HTTP/1.1 100 Continue"),
    "early hints": head("HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload"),
    "websocket": head(
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ),
    "upgrade required": head(
        "HTTP/1.1 426 Upgrade Required",
        "Upgrade: HTTP/3.0",
        "Connection: Upgrade",
        "Content-Length: 0",
    ),
}
"""By server, what is for the reference."""
