import asyncio
import socket
from collections.abc import Callable

from bgproxy.dataplane.shared import Shared

class Poller:
    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared) -> None: ...
    def close(self) -> None: ...

class Listener:
    def __init__(
        self, poller: Poller, sock: socket.socket, accept: Callable[[], asyncio.BaseProtocol]
    ) -> None: ...
    def close(self) -> None: ...

def connect(poller: Poller, fd: int, protocol: asyncio.BaseProtocol) -> asyncio.Transport: ...
