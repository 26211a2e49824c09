"""The hot path: asyncio protocols on uvloop. A worker owns sockets and makes no decision.

*Downstream* is the client's side, *upstream* the backend's. An *exchange* is one request and its
response; a `Downstream` carries one at a time. In the order in which a request meets them: accept,
read the head, find the service, *claim* (read the pointer, pick a backend, count in), connect or
reuse, relay, classify the outcome, record and release.
"""
