"""A worker's process: ``python -m bgproxy.dataplane FD``, FD its end of the channel.

What the loading takes is most of what a start takes, so it comes first; whatever the worker must
know is told later, over the channel.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys

if __name__ == "__main__":
    # Only the channel ends a worker: Ctrl-C reaches the whole group, even while it loads.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # nothing that is loaded is ever garbage; `main` turns it on again

    from bgproxy.dataplane.worker import main

    main(socket.socket(fileno=int(sys.argv[1])))
