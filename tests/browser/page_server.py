"""Serves an application on a free port of this machine, for pages in a real browser."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

STOPS_WITHIN_S = 20.0


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of ``app`` on a free port, served by uvicorn on its own thread; first requests wait until it runs."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOPS_WITHIN_S)
        listening.close()
