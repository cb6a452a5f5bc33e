"""The bench tool: ``python -m devices list | decode | watch | record | replay``. One JSON line for each event."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devices import catalog
from devices.capture import CaptureWriter, Head, RecordingLink, read_capture, run_through, settled
from devices.clock import Clock, SystemClock
from devices.serial_ports import serial_ports
from devices.driver import About, DriverContract, GattUse, SerialLine
from devices.errors import AskPerson
from devices.event_json import event_json
from devices.links.bluetooth_link import BluetoothHub
from devices.links.link import DeviceLink
from devices.links.serial_link import SerialLink
from devices.readings import IdentityCard, Samples, Stamped
from devices.session import DeviceSession, DeviceSettings, LinkKind, links_of


class HexRefused(AskPerson):
    code = "hex_refused"


class CaptureNotWritable(AskPerson):
    code = "capture_not_writable"


class CardRecordingRefused(AskPerson):
    code = "card_recording_refused"


def main(arguments: Sequence[str] | None = None) -> int:
    wanted = _arguments(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.INFO)
    try:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            wanted.run(wanted)
    except AskPerson as refusal:
        print(json.dumps({"error": refusal.code, "message": str(refusal)}, ensure_ascii=False), file=sys.stderr)
        return 2
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devices", description="Drivers and devices on the bench.")
    commands = parser.add_subparsers(required=True, metavar="list|decode|watch|record|replay")
    listing = commands.add_parser("list", help="drivers and serial ports")
    listing.set_defaults(run=_list)
    decode = commands.add_parser("decode", help="run bytes through a driver")
    decode.add_argument("driver")
    decode.add_argument("hex", nargs="+", help="bytes in hexadecimal; CHANNEL:HEX for Bluetooth")
    decode.set_defaults(run=_decode)
    watch = commands.add_parser("watch", help="print what a device says until Ctrl-C")
    record = commands.add_parser("record", help="the same, and keep the bytes as a capture")
    for live in (watch, record):
        live.add_argument("driver")
        live.add_argument("--port", default="", help="serial: /dev/serial/by-path/...")
        live.add_argument("--address", default="", help="Bluetooth: only this device")
        live.add_argument("--seconds", type=float, help="stop after so long")
        live.add_argument("--waves", action="store_true", help="print waveform samples too")
        live.add_argument("--show-personal", action="store_true", help="print what an identity card says")
    watch.set_defaults(run=_watch)
    record.add_argument("out", type=Path)
    record.add_argument("--device", required=True, help="maker, model, firmware")
    record.add_argument("--display", required=True, help="what the device's display showed meanwhile")
    record.add_argument("--kind", choices=("real", "simulated"), default="real")
    record.set_defaults(run=_record)
    replay = commands.add_parser("replay", help="run a capture through its driver")
    replay.add_argument("capture", type=Path)
    replay.set_defaults(run=_replay)
    return parser.parse_args(arguments)


def _list(wanted: argparse.Namespace) -> None:
    for driver_id in catalog.drivers():
        _print({"driver": driver_id, "link": links_of(driver_id)} | _label(catalog.about(driver_id)))
    for port in serial_ports():
        _print({"port": port.path} | dataclasses.asdict(port))


def _label(about: About) -> dict[str, Any]:
    label = dataclasses.asdict(about)
    if about.lost_after_s == float("inf"):
        label["lost_after_s"] = None
    return label


def _decode(wanted: argparse.Namespace) -> None:
    driver = catalog.driver(wanted.driver)()
    chunks = [_chunk(driver, said) for said in wanted.hex]
    events = list(driver.open().events)
    for channel, chunk in chunks:
        events += driver.feed(chunk, channel).events
    for event in events + settled(driver):
        _print(event_json(event))
    driver.close()
    _print({"counters": driver.counters.as_dict()})


def _chunk(driver: DriverContract, said: str) -> tuple[str, bytes]:
    """(channel, bytes) of ``HEX`` or ``CHANNEL:HEX``; without a channel it is the first one a driver subscribes to."""
    channel, _, digits = said.rpartition(":")
    if not channel and not driver.about.lines(SerialLine):
        channel = next((name for line in driver.about.lines(GattUse) for name in line.subscribe), "")
    try:
        return channel.upper(), bytes.fromhex(digits)
    except ValueError:
        raise HexRefused(f"{said!r} is not hexadecimal: two digits for each byte, e.g. 01E0849392BCE3FFFF") from None


def _replay(wanted: argparse.Namespace) -> None:
    capture = read_capture(wanted.capture)
    driver = catalog.driver(capture.head.driver)()
    for event in run_through(driver, capture):
        _print(event_json(event))
    driver.close()
    _print({"counters": driver.counters.as_dict()})


def _watch(wanted: argparse.Namespace) -> None:
    clock = SystemClock()
    asyncio.run(_attend(wanted, _link(wanted, clock), clock))


def _record(wanted: argparse.Namespace) -> None:
    """
    :raises CardRecordingRefused: a real identity card would be kept in a file; only fictional ones are recorded.
    :raises CaptureNotWritable: there is a file of that name already, or none can be made there.
    """
    clock = SystemClock()
    measures = {metric.key for metric in catalog.about(wanted.driver).metrics}
    if "identity_card" in measures and wanted.kind == "real":
        raise CardRecordingRefused("captures of identity cards would hold a person's data: use a simulated reader")
    head = Head(
        driver=wanted.driver,
        kind=wanted.kind,
        device=wanted.device,
        display=wanted.display,
        source="recorded with python -m devices record",
    )
    link = _link(wanted, clock)
    try:
        file = wanted.out.open("x", encoding="utf-8")
    except FileExistsError:
        raise CaptureNotWritable(f"{wanted.out} exists: a capture is never written over; name another file") from None
    except OSError as fault:
        raise CaptureNotWritable(f"{wanted.out}: {fault.strerror}; name a file in a folder that is there") from None
    with file:
        asyncio.run(_attend(wanted, RecordingLink(link, CaptureWriter(file, head, clock)), clock))


def _link(wanted: argparse.Namespace, clock: Clock) -> DeviceLink:
    if _link_kind(wanted) == "bluetooth":
        return BluetoothHub(clock).link("bench", wanted.address)
    if not wanted.port:
        raise PortMissing("name the port with --port; `python -m devices list` shows those that are there")
    return SerialLink(wanted.port)


def _link_kind(wanted: argparse.Namespace) -> LinkKind:
    """A device with both kinds is reached by the port that was named, else by Bluetooth."""
    speaks = links_of(wanted.driver)
    return speaks[0] if wanted.port else speaks[-1]


class PortMissing(AskPerson):
    code = "port_missing"


async def _attend(wanted: argparse.Namespace, link: DeviceLink, clock: Clock) -> None:
    def show(stamped: Stamped) -> None:
        event = stamped.event
        if isinstance(event, Samples) and not wanted.waves:
            return
        said = event_json(event)
        if isinstance(event, IdentityCard) and not wanted.show_personal:
            said = {"type": event.kind, "hidden": "use --show-personal"}
        _print({"at": stamped.received_at.isoformat()} | said)

    settings = DeviceSettings(
        name="bench",
        driver=wanted.driver,
        link=_link_kind(wanted),
        port=wanted.port,
        address=wanted.address,
    )
    session = DeviceSession(settings, catalog.driver(wanted.driver)(), link, show, clock)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wanted.seconds):
            await session.run()


def _print(content: dict[str, Any]) -> None:
    print(json.dumps(content, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
