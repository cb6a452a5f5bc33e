"""Serves an ASGI application as a service: one port, readiness and heartbeats told, an orderly end on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.service import READY, beat, notify, stop_on_signals

GOODBYE_WITHIN_S = 3


class PortTaken(AskPerson):
    """Another program answers at the address."""

    code = "port_taken"


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: signals belong to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: FastAPI, listener: socket.socket, service: str, clock: Clock) -> None:
    """Serve until SIGTERM or SIGINT."""
    began_s = clock.monotonic_s()
    server = Server(
        uvicorn.Config(
            app, log_config=None, lifespan="off", timeout_graceful_shutdown=GOODBYE_WITHIN_S, proxy_headers=False
        )
    )

    def stop() -> None:
        server.should_exit = True

    stop_on_signals(stop)
    pages = asyncio.create_task(server.serve(sockets=[listener]))
    heart = asyncio.create_task(_tell_manager(server, service, clock, began_s))
    try:
        await pages
        emit("service_stopping", service=service)
    finally:
        heart.cancel()


@contextlib.contextmanager
def listening(host: str, port: int, settings_file: str) -> Iterator[socket.socket]:
    """A bound socket.

    :raises PortTaken: something else answers there; names ``settings_file`` as the place to choose another
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        raise PortTaken(
            f"{host}:{port} cannot be used ({fault.strerror}): stop the other program, or choose another host and port "
            f"in {settings_file}"
        ) from None
    with listener:
        yield listener


async def _tell_manager(server: Server, service: str, clock: Clock, began_s: float) -> None:
    while not server.started:
        await clock.sleep(0.02)
    emit("service_started", service=service, seconds=round(clock.monotonic_s() - began_s, 3))
    notify(READY)
    await beat(lambda: True, clock)
