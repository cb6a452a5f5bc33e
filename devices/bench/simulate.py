"""``python -m devices simulate``: one simulated device, for another program to read."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from pathlib import Path

from devices import catalog
from devices.capture import read_capture
from devices.clock import Clock, SystemClock
from devices.driver import TcpService
from devices.errors import AskPerson
from devices.simulators.pty_port import PtyPort
from devices.simulators.shelf import CaptureTwin, twin_of
from devices.simulators.tcp_port import TcpPort
from devices.simulators.twin import Twin


class NowhereToAppear(AskPerson):
    code = "nowhere_to_appear"


def simulate(wanted: argparse.Namespace) -> None:
    """Until Ctrl-C, or for ``--seconds``.

    :raises NoTwin, NowhereToAppear: with what to write instead.
    """
    clock = SystemClock()
    driver, twin = _twin(wanted.device, clock)
    if catalog.about(driver).lines(TcpService):
        asyncio.run(_behind_tcp(twin, clock, driver, wanted))
    elif wanted.port is None:
        raise NowhereToAppear("name where the port shall appear, e.g. --port ./device")
    elif wanted.port.exists() and not wanted.port.is_symlink():
        raise NowhereToAppear(f"{wanted.port} is a file: name a path that is free")
    else:
        asyncio.run(_on_a_port(twin, clock, driver, wanted))


def _twin(device: str, clock: Clock) -> tuple[str, Twin]:
    if device.endswith(".jsonl"):
        capture = read_capture(Path(device))
        return capture.head.driver, CaptureTwin(capture)
    catalog.about(device)
    return device, twin_of(device, clock)


async def _on_a_port(twin: Twin, clock: Clock, driver: str, wanted: argparse.Namespace) -> None:
    port = PtyPort(wanted.port, twin, clock)
    try:
        port.attach()
    except OSError as fault:
        raise NowhereToAppear(f"{wanted.port}: {fault.strerror}; name a path in a folder that is there") from None
    _tell(wanted, {"port": str(wanted.port)}, f"python -m devices watch {driver} --port {wanted.port}")
    try:
        await _a_while(wanted.seconds)
    finally:
        port.detach()


async def _behind_tcp(twin: Twin, clock: Clock, driver: str, wanted: argparse.Namespace) -> None:
    server = TcpPort(twin, clock)
    try:
        port = await server.open(wanted.listen or 0)
    except OSError as fault:
        raise NowhereToAppear(f"port {wanted.listen}: {fault.strerror}; take another one with --listen") from None
    address = f"127.0.0.1:{port}"
    _tell(wanted, {"address": address}, f"python -m devices watch {driver} --address {address}")
    try:
        await _a_while(wanted.seconds)
    finally:
        await server.close()


async def _a_while(seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


def _tell(wanted: argparse.Namespace, where: dict[str, str], next_step: str) -> None:
    if wanted.json:
        print(json.dumps(where), flush=True)
    else:
        (place,) = where.values()
        print(f"it is at {place}; in another terminal: {next_step}\nCtrl-C ends", flush=True)
