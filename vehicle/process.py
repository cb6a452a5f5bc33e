"""The vehicle process: settings, sockets, signals, and the order in which things start and stop.

One event loop holds everything: device sessions, services, and the touchscreen application on a TCP port (loopback
unless configured otherwise) and on a Unix socket (mode 0660) for the consultation process. SIGTERM and SIGINT end it
cleanly. The log is JSON lines on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from devices.clock import SystemClock
from devices.errors import AskPerson
from devices.events import emit
from sync.data_folder import usable_folder
from sync.service import READY, beat, log_to_stderr, notify, stop_on_signals
from sync.settings_file import SettingsRefused
from vehicle import record_commands, stick_command
from vehicle.assembly import Vehicle, assemble
from vehicle.key_commands import COMMANDS, run
from vehicle.settings import VehicleSettings, read_vehicle_settings
from vehicle.touchscreen.app import create_touchscreen

GOODBYE_WITHIN_S = 3
"""How long open pages may take to hang up before they are cut off."""
LONGEST_SOCKET_PATH_BYTES = 107
"""unix(7): 108 with the zero at the end."""


class _Server(uvicorn.Server):
    """uvicorn on sockets of ours; signals belong to the process, which has more to stop than a web server."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PortTaken(AskPerson):
    code = "port_taken"


def main() -> int:
    """Exit code 0 after a clean stop, 2 when settings, keys or ports need a person."""
    options = argparse.ArgumentParser(prog="python -m vehicle", description="The vehicle process.")
    options.add_argument("--settings", type=Path, required=True, help="TOML file, see systemd/vehicle.example.toml")
    options.add_argument(
        "command",
        nargs="?",
        choices=(*COMMANDS, *record_commands.COMMANDS, *stick_command.COMMANDS),
        help="about its keys or its record: vehicle/key_commands.py, record_commands.py and stick_command.py",
    )
    options.add_argument("--show-key", action="store_true", help="as show-key")
    options.add_argument("--yes", action="store_true", help="with seal-key: it was read what that means")
    record_commands.add_options(options)
    stick_command.add_options(options)
    arguments = options.parse_args()
    log_to_stderr("vehicle")
    try:
        command = "show-key" if arguments.show_key else arguments.command
        if command in record_commands.COMMANDS:
            settings = read_vehicle_settings(arguments.settings)
            print(record_commands.run(command, settings, SystemClock(), arguments))
        elif command in stick_command.COMMANDS:
            print(stick_command.run(read_vehicle_settings(arguments.settings), SystemClock(), arguments))
        elif command:
            print(run(command, arguments.settings, arguments.yes))
        else:
            asyncio.run(serve(read_vehicle_settings(arguments.settings)))
    except AskPerson as refusal:
        emit("service_refused", service="vehicle", code=refusal.code, reason=str(refusal))
        return 2
    return 0


async def serve(settings: VehicleSettings) -> None:
    """Run the vehicle of ``settings`` until a signal comes.

    :raises AskPerson: it cannot start: port taken, key missing, journal in use ...
    """
    clock = SystemClock()
    began_s = clock.monotonic_s()
    with _listening(settings) as sockets:
        vehicle = assemble(settings, clock, port=sockets[0].getsockname()[1])
        try:
            server = _server(create_touchscreen(vehicle))
            pages = asyncio.create_task(server.serve(sockets=sockets), name="touchscreen")

            def stop() -> None:
                server.should_exit = True

            stop_on_signals(stop)
            heart = asyncio.create_task(_announce_ready(vehicle, server, clock, began_s), name="heartbeat")
            heart.add_done_callback(lambda done: None if done.cancelled() or done.exception() is None else stop())
            await pages
            if heart.done():
                heart.result()  # a fault of ours: the service ends with it and is started again
            heart.cancel()
            emit("service_stopping", service="vehicle")
        finally:
            await vehicle.stop()


async def _announce_ready(vehicle: Vehicle, server: _Server, clock: SystemClock, began_s: float) -> None:
    await server.listening.wait()
    await vehicle.start()
    emit("service_started", service="vehicle", seconds=round(clock.monotonic_s() - began_s, 3))
    notify(READY)
    await beat(_turning, clock)


def _turning() -> bool:
    """Whoever gets here proves that the loop turns. A full disk is no reason to restart: people are still served."""
    return True


def _server(app: FastAPI) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GOODBYE_WITHIN_S,
            ws="websockets-sansio",
            ws_max_size=64 * 1024,
            ws_max_queue=16,
        )
    )


@contextlib.contextmanager
def _listening(settings: VehicleSettings) -> Iterator[list[socket.socket]]:
    """The TCP socket and the Unix socket, bound.

    :raises PortTaken: another program listens there; nothing of its own is touched
    """
    screen = settings.touchscreen
    with contextlib.ExitStack() as doors:
        page = doors.enter_context(
            socket.socket(socket.AF_INET6 if ":" in screen.host else socket.AF_INET, socket.SOCK_STREAM)
        )
        page.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            page.bind((screen.host, screen.port))
        except OSError as fault:
            raise PortTaken(
                f"{screen.host}:{screen.port} cannot be used ({fault.strerror}): end the other program that uses it, "
                "or set another [touchscreen] port"
            ) from fault
        local = doors.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        _bind_local(local, screen.socket)
        doors.callback(screen.socket.unlink, missing_ok=True)
        yield [page, local]


def _bind_local(local: socket.socket, path: Path) -> None:
    """Bind to ``path`` with mode 0660, in place of what a crash left there."""
    usable_folder(path.parent)
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES:
        raise SettingsRefused(f"{path}: longer than a socket's path may be, set a shorter [touchscreen] socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise PortTaken(f"{path} is in use: end the other vehicle process, or set another [touchscreen] socket")
    path.unlink(missing_ok=True)
    before = os.umask(0o117)  # 0660 from the first moment: a chmod afterwards would leave a gap
    try:
        local.bind(str(path))
    finally:
        os.umask(before)
