"""``python -m devices.simulators --ports DIR --control SOCK [--ecg WFDB] [--track NMEA] [--bluetooth]``

All devices of the van as they speak on the wire, on ptys DIR/ecg, /oximeter, /card, /gnss, /urine; with --bluetooth
also a glucose meter, a cuff and a 5G modem on a D-Bus of their own, whose address is in DIR/bluetooth-bus.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from devices.clock import Clock, SystemClock
from devices.errors import AskPerson
from devices.events import emit
from devices.links.tcp_listener import host_and_port
from devices.simulators.bench import Bench, Meters
from devices.simulators.control import ControlSocket
from devices.simulators.ecg_source import ecg_source
from devices.simulators.escpos_paper import PaperNeedsFont
from devices.simulators.escpos_printer import PrintedSlip
from devices.simulators.gnss import GnssTwin, read_track
from devices.simulators.tcp_caller import TcpCaller
from devices.simulators.tcp_port import TcpPort

BUS_ADDRESS_FILE = "bluetooth-bus"
DEFAULT_POSITION = "32.3600,106.8200"


def main() -> int:
    wanted = _arguments()
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.INFO)
    try:
        asyncio.run(_run(wanted, SystemClock()))
    except AskPerson as refusal:
        emit("service_refused", logging.ERROR, service="simulators", code=refusal.code, reason=str(refusal))
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devices.simulators", description=__doc__.splitlines()[2])
    parser.add_argument("--ports", type=Path, required=True, metavar="DIR", help="where the ports appear")
    parser.add_argument("--control", type=Path, required=True, metavar="SOCK", help="the control socket")
    parser.add_argument("--ecg", type=Path, metavar="WFDB", help="a WFDB record; without it a rhythm is synthesised")
    parser.add_argument("--track", type=Path, metavar="NMEA", help="an NMEA log, replayed in real time")
    parser.add_argument("--position", default=DEFAULT_POSITION, metavar="LAT,LON", help="where the van stands")
    parser.add_argument("--analyser", metavar="HOST:PORT", help="where the haematology analyser calls the van")
    parser.add_argument("--printer", metavar="HOST:PORT", help="where the slip printer waits to be called")
    parser.add_argument("--paper", type=Path, metavar="DIR", help="where printed slips are put as pictures")
    parser.add_argument("--bluetooth", action="store_true", help="also the Bluetooth meters (needs dbus-daemon)")
    return parser.parse_args()


async def _run(wanted: argparse.Namespace, clock: Clock) -> None:
    latitude_deg, longitude_deg = _position(wanted.position)
    track = read_track(wanted.track) if wanted.track else None
    gnss = GnssTwin(clock, latitude_deg, longitude_deg, track)
    source = ecg_source(wanted.ecg)
    wanted.ports.mkdir(parents=True, exist_ok=True)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    started_s = clock.monotonic_s()
    async with _bluetooth(wanted.ports, wanted.bluetooth, clock) as meters:
        bench = Bench(wanted.ports, clock, source, gnss, meters)
        control = ControlSocket(bench)
        calling = _call(wanted.analyser, bench, clock)
        printer = await _printer(wanted.printer, wanted.paper, bench, clock)
        try:
            bench.plug_all()
            wanted.control.unlink(missing_ok=True)
            await control.open(wanted.control)
            emit("service_started", service="simulators", seconds=round(clock.monotonic_s() - started_s, 3))
            _say_ready()
            await stopped.wait()
        except OSError as fault:
            raise SocketRefused(f"{wanted.control}: {fault}; choose a short path in an existing folder") from fault
        finally:
            emit("service_stopping", service="simulators")
            if calling is not None:
                calling.cancel()
            if printer is not None:
                await printer.close()
            await control.close()
            bench.unplug_all()
            wanted.control.unlink(missing_ok=True)


def _call(where: str | None, bench: Bench, clock: Clock) -> asyncio.Task[None] | None:
    """The analyser calls whoever listens there, again and again; None without ``--analyser``."""
    if not where:
        return None
    try:
        host, port = host_and_port(where)
    except ValueError as refusal:
        raise AnalyserRefused(f"--analyser {refusal}") from None
    return asyncio.create_task(TcpCaller(host, port, bench.blood_count, clock).run())


async def _printer(where: str | None, paper: Path | None, bench: Bench, clock: Clock) -> TcpPort | None:
    """The slip printer behind its port; None without ``--printer``."""
    if not where:
        return None
    if paper is not None:
        bench.printer.on_slip = lambda slip: _keep_slip(slip, paper)
    try:
        host, port = host_and_port(where)
        waiting = TcpPort(bench.printer, clock, host)
        await waiting.open(port)
    except (ValueError, OSError) as refusal:
        raise PrinterRefused(f"--printer {where}: {refusal}") from None
    return waiting


def _keep_slip(slip: PrintedSlip, folder: Path) -> None:
    """As slip-0001.png and so on; without a font to draw with it is only said."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + len(list(folder.glob("slip-*")))
    try:
        slip.paper.image().save(folder / f"slip-{number:04d}.png")
    except PaperNeedsFont as missing:
        emit("printing_unavailable", logging.WARNING, packages=str(missing))


def _say_ready() -> None:
    """Tell whoever started us (sd_notify(3)); nobody asked when NOTIFY_SOCKET is not set."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", path)


class SocketRefused(AskPerson):
    code = "socket_refused"


class AnalyserRefused(AskPerson):
    code = "analyser_refused"


class PrinterRefused(AskPerson):
    code = "printer_refused"


class PositionRefused(AskPerson):
    code = "position_refused"


def _position(said: str) -> tuple[float, float]:
    try:
        latitude_deg, longitude_deg = (float(part) for part in said.split(","))
    except ValueError:
        raise PositionRefused(f"--position {said!r}: give latitude,longitude in degrees, e.g. 32.36,106.82") from None
    return latitude_deg, longitude_deg


@contextlib.asynccontextmanager
async def _bluetooth(ports: Path, wanted: bool, clock: Clock) -> AsyncIterator[Meters | None]:
    """The Bluetooth meters, or None with the reason told: the other devices do without."""
    address_file = ports / BUS_ADDRESS_FILE
    address_file.unlink(missing_ok=True)
    if not wanted:
        yield None
        return
    try:
        from devices.simulators.bluetooth_meters import BluetoothMeters
        from devices.simulators.modem_manager import VirtualModemManager
    except ImportError as missing:
        emit("bluetooth_unavailable", logging.WARNING, reason=f"{missing}; pip install xunzhen[demo]")
        yield None
        return
    folder = ports / "bluetooth"
    folder.mkdir(exist_ok=True)
    meters = BluetoothMeters(folder, clock)
    try:
        address = await meters.start()
    except (AskPerson, OSError) as refusal:
        emit("bluetooth_unavailable", logging.WARNING, reason=f"{refusal}; on Debian: apt install dbus-daemon")
        yield None
        return
    modem = VirtualModemManager(address)
    await modem.appear()
    fresh = address_file.with_name(f".{BUS_ADDRESS_FILE}.new")
    fresh.write_text(address, encoding="utf-8")
    fresh.replace(address_file)
    emit("bluetooth_available")
    try:
        yield meters
    finally:
        address_file.unlink(missing_ok=True)
        await modem.vanish()
        await meters.stop()


if __name__ == "__main__":
    sys.exit(main())
