"""``python -m telemedicine.exchange --settings county.toml``: the county's pages and the exchange as one ASGI server.

``... introduce ID TITLE INSTITUTION`` says how a specialist is introduced to the vans, and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from devices.clock import Clock, SystemClock
from devices.errors import AskPerson
from devices.events import emit
from sync.county.app import County, create_county
from sync.county.settings import CountySettings, read_county_settings
from sync.formats.wire import KEEP_ALIVE_S
from sync.service import READY, beat, collect_rarely, log_to_stderr, notify, stop_on_signals
from telemedicine.exchange.app import SOCKET_LIMIT_BYTES, add_exchange
from telemedicine.exchange.store import ExchangeStore
from telemedicine.exchange.turn import turn_credentials

SERVICE = "county"
GOODBYE_WITHIN_S = 3


class PortTaken(AskPerson):
    """Another program answers at the county's address."""

    code = "port_taken"


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: signals belong to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(arguments: list[str] | None = None) -> int:
    """0 after SIGTERM or SIGINT, 2 when settings or keys need a person."""
    parser = argparse.ArgumentParser(prog="python -m telemedicine.exchange", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="county.toml")
    commands = parser.add_subparsers(dest="command")
    introduce = commands.add_parser("introduce", help="title and institution of a specialist")
    for name in ("account", "title", "institution"):
        introduce.add_argument(name)
    options = parser.parse_args(arguments)
    log_to_stderr(SERVICE)
    try:
        settings = read_county_settings(options.settings)
        if options.command == "introduce":
            ExchangeStore(exchange_url(settings)).set_profile(options.account, options.title, options.institution)
        else:
            asyncio.run(serve(settings))
    except AskPerson as refusal:
        emit("service_refused", service=SERVICE, code=refusal.code, reason=str(refusal))
        return 2
    return 0


def exchange_url(settings: CountySettings) -> str:
    """Where the exchange keeps its tables: the county's database server, or an SQLite file of its own.

    Its own, because two writers in one SQLite file would wait for each other.
    """
    return settings.database or f"sqlite:///{settings.data / 'exchange.db'}"


def create_app(settings: CountySettings, clock: Clock) -> FastAPI:
    """The county's application with the exchange on it."""
    turn = turn_credentials(settings.turn, clock)
    app = create_county(settings, clock)
    county: County = app.state.county
    add_exchange(app, county, exchange_url(settings), clock, language=settings.language, turn=turn)
    return app


async def serve(settings: CountySettings) -> None:
    """Serve until a signal comes.

    :raises PortTaken: something else answers at host and port
    """
    clock = SystemClock()
    began_s = clock.monotonic_s()
    with _listening(settings) as listener:
        app = create_app(settings, clock)
        collect_rarely()
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                lifespan="off",
                ws_max_size=SOCKET_LIMIT_BYTES,
                timeout_graceful_shutdown=GOODBYE_WITHIN_S,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )

        def stop() -> None:
            server.should_exit = True

        stop_on_signals(stop)
        pages = asyncio.create_task(server.serve(sockets=[listener]))
        heart = asyncio.create_task(_tell_manager(server, clock, began_s))
        background = asyncio.create_task(app.state.county.work_in_background())
        background.add_done_callback(lambda task: None if task.cancelled() or task.exception() is None else stop())
        try:
            await pages
            emit("service_stopping", service=SERVICE)
            if background.done():
                background.result()  # a fault of ours: the service ends with it and is started again
        finally:
            heart.cancel()
            background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await background
            app.state.exchange.store.close()
            app.state.county.close()


async def _tell_manager(server: uvicorn.Server, clock: Clock, began_s: float) -> None:
    while not server.started:
        await clock.sleep(0.02)
    emit("service_started", service=SERVICE, seconds=round(clock.monotonic_s() - began_s, 3))
    notify(READY)
    await beat(lambda: True, clock)


@contextlib.contextmanager
def _listening(settings: CountySettings) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as fault:
        listener.close()
        raise PortTaken(
            f"{settings.host}:{settings.port} cannot be used ({fault.strerror}): stop the other program, or choose "
            "another host and port in county.toml"
        ) from None
    with listener:
        yield listener


if __name__ == "__main__":
    raise SystemExit(main())
