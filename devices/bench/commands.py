"""What the commands of the bench tool do; each prints, and raises AskPerson with what to do next."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devices import catalog
from devices.bench.live_view import LiveView
from devices.capture import CaptureWriter, Head, RecordingLink, read_capture, run_through, settled
from devices.clock import Clock, SystemClock
from devices.discovery import Candidate, of_port
from devices.driver import About, DriverContract, GattUse, SerialLine
from devices.errors import AskPerson, LinkLost
from devices.event_json import event_json
from devices.identify import Answer, NothingAnswered, identify
from devices.links.hid_link import HidLink
from devices.links.link import DeviceLink
from devices.links.serial_link import SerialLink
from devices.links.tcp_link import TcpLink
from devices.links.tcp_listener import TcpListenerLink, host_and_port
from devices.readings import IdentityCard, Samples, Stamped
from devices.serial_ports import Places, all_ports
from devices.session import DeviceSession, DeviceSettings, LinkKind, links_of

REDRAW_S = 0.25


class HexRefused(AskPerson):
    code = "hex_refused"


class CaptureNotWritable(AskPerson):
    code = "capture_not_writable"


class CardRecordingRefused(AskPerson):
    code = "card_recording_refused"


class PortMissing(AskPerson):
    code = "port_missing"


class PortNotRead(AskPerson):
    code = "port_not_read"


def list_all(wanted: argparse.Namespace) -> None:
    ports = [
        port
        for port in all_ports(Places(wanted.labels) if wanted.labels else None)
        if port.transport == "serial" or of_port(port).ours
    ]
    if plain(wanted):
        for driver_id in catalog.drivers():
            _print({"driver": driver_id, "link": links_of(driver_id)} | _label(catalog.about(driver_id)))
        for port in ports:
            _print({"port": port.path, "try_drivers": of_port(port).drivers} | dataclasses.asdict(port))
        return
    print("drivers")
    for driver_id in catalog.drivers():
        about = catalog.about(driver_id)
        links = "/".join(links_of(driver_id))
        print(f"  {driver_id:26} {links:17} on hardware: {about.hardware_tested:4} {about.title_en}")
    print("\nports" if ports else "\nno port: plug it in; `lsusb` shows whether its adapter is seen")
    for port in ports:
        facts = "  ".join(filter(None, (port.usb_id, port.product, port.socket and f"USB socket {port.socket}")))
        print(f"  {port.path}  {facts}")
        drivers = of_port(port).drivers
        print(f"      {'try: ' + ', '.join(drivers) if drivers else 'say what it is: identify ... --as DRIVER'}")


def identify_place(wanted: argparse.Namespace) -> None:
    """
    :raises NothingAnswered, PortNotRead: with what to do.
    """
    candidate = _candidate(wanted.place)
    for driver in wanted.drivers:
        catalog.about(driver)
    answer = asyncio.run(_asked(candidate, SystemClock(), tuple(wanted.drivers), wanted.seconds))
    told = {
        "driver": answer.driver,
        "identity": answer.identity.told() if answer.identity else {},
        "counters": answer.counters,
        "first_bytes": answer.first_bytes.hex(" ").upper(),
        "seconds": round(answer.seconds, 1),
    }
    if plain(wanted):
        _print(told)
        return
    about = catalog.about(answer.driver)
    print(f"{wanted.place} is {about.title_en}, driver {answer.driver}")
    for kind, text in ((one.kind, one.text) for one in answer.told(candidate).evidence):
        print(f"  {kind:8} {text}")
    print(f"  tried on hardware: {about.hardware_tested}")
    print(f"next: python -m devices watch {answer.driver} {_place_option(candidate)} {wanted.place}")


def decode(wanted: argparse.Namespace) -> None:
    driver = catalog.driver(wanted.driver)()
    chunks = [_chunk(driver, said) for said in wanted.hex]
    events = list(driver.open().events)
    for channel, chunk in chunks:
        events += driver.feed(chunk, channel).events
    for event in events + settled(driver):
        _print(event_json(event))
    driver.close()
    _print({"counters": driver.counters.as_dict()})


def replay(wanted: argparse.Namespace) -> None:
    capture = read_capture(wanted.capture)
    driver = catalog.driver(capture.head.driver)()
    for event in run_through(driver, capture):
        _print(event_json(event))
    driver.close()
    _print({"counters": driver.counters.as_dict()})


def watch(wanted: argparse.Namespace) -> None:
    clock = SystemClock()
    if not wanted.driver:
        if not (wanted.port or ":" in wanted.address):
            raise PortMissing("name the driver, or the port with --port; `python -m devices list` shows both")
        candidate = _candidate(wanted.port or wanted.address)
        wanted.driver = asyncio.run(_asked(candidate, clock)).driver
    link = _link(wanted, clock)
    if plain(wanted):
        asyncio.run(_attend(wanted, link, clock, _printer(wanted)))
    else:
        asyncio.run(_watch_live(wanted, link, clock))


def record(wanted: argparse.Namespace) -> None:
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
        recording = RecordingLink(link, CaptureWriter(file, head, clock))
        asyncio.run(_attend(wanted, recording, clock, _printer(wanted)))


def plain(wanted: argparse.Namespace) -> bool:
    """Whether machine-readable lines are wanted: asked for, or not at a terminal."""
    return bool(wanted.json) or not sys.stdout.isatty()


def _label(about: About) -> dict[str, Any]:
    label = dataclasses.asdict(about)
    if about.lost_after_s == float("inf"):
        label["lost_after_s"] = None
    return label


def _chunk(driver: DriverContract, said: str) -> tuple[str, bytes]:
    """(channel, bytes) of ``HEX`` or ``CHANNEL:HEX``; without a channel it is the first one a driver subscribes to."""
    channel, _, digits = said.rpartition(":")
    if not channel and not driver.about.lines(SerialLine):
        channel = next((name for line in driver.about.lines(GattUse) for name in line.subscribe), "")
    try:
        return channel.upper(), bytes.fromhex(digits)
    except ValueError:
        raise HexRefused(f"{said!r} is not hexadecimal: two digits for each byte, e.g. 01E0849392BCE3FFFF") from None


def _candidate(place: str) -> Candidate:
    """The port as the system knows it, else as it was named: a person pointed at it."""
    known = [of_port(port) for port in all_ports()]
    found = [one for one in known if place in (one.address, one.device) or _same(place, one.device)]
    if found:
        return dataclasses.replace(found[0], address=place)
    if Path(place).exists() or "/" in place:
        return Candidate("serial", place, tuple(name for name in catalog.drivers() if links_of(name) == ["serial"]))
    return Candidate("tcp", place, ("gpsd_gnss",))


def _same(place: str, device: str) -> bool:
    with contextlib.suppress(OSError):
        return str(Path(place).resolve(strict=True)) == device
    return False


async def _asked(candidate: Candidate, clock: Clock, drivers: tuple[str, ...] = (), within_s: float = 4.0) -> Answer:
    try:
        return await identify(candidate, clock, drivers, within_s)
    except NothingAnswered:
        raise
    except LinkLost as refusal:
        who = f"who holds it: fuser -v {candidate.address}"
        raise PortNotRead(f"{refusal}; see `python -m devices list`, and {who}") from None


def _place_option(candidate: Candidate) -> str:
    return "--port" if candidate.transport == "serial" else "--address"


def _link(wanted: argparse.Namespace, clock: Clock) -> DeviceLink:
    kind = _link_kind(wanted)
    if kind == "bluetooth":
        from devices.links.bluetooth_hub import BluetoothHub

        return BluetoothHub(clock).link("bench", wanted.address)
    if kind == "tcp":
        if not wanted.address:
            raise PortMissing("name the address with --address, e.g. 127.0.0.1:2947")
        return TcpLink(wanted.address)
    if kind == "listen":
        return _listener(wanted)
    if not wanted.port:
        raise PortMissing("name the port with --port; `python -m devices list` shows those that are there")
    return HidLink(wanted.port) if kind == "hid" else SerialLink(wanted.port)


def _listener(wanted: argparse.Namespace) -> DeviceLink:
    """An analyser calls us: ``--address`` is where we wait for it."""
    try:
        host, port = host_and_port(wanted.address)
    except ValueError as refusal:
        raise PortMissing(f"name where to wait for the analyser with --address: {refusal}") from None
    return TcpListenerLink("bench", host, port)


def _link_kind(wanted: argparse.Namespace) -> LinkKind:
    """A device with several is reached by the port that was named, else without a cable."""
    speaks = links_of(wanted.driver)
    return speaks[0] if wanted.port or len(speaks) == 1 else next(link for link in speaks if link != "serial")


def _session(
    wanted: argparse.Namespace, link: DeviceLink, clock: Clock, show: Callable[[Stamped], None]
) -> DeviceSession:
    settings = DeviceSettings.model_construct(name="bench", driver=wanted.driver, link=_link_kind(wanted))
    return DeviceSession(settings, catalog.driver(wanted.driver)(), link, show, clock)


async def _attend(wanted: argparse.Namespace, link: DeviceLink, clock: Clock, show: Callable[[Stamped], None]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wanted.seconds):
            await _session(wanted, link, clock, show).run()


def _printer(wanted: argparse.Namespace) -> Callable[[Stamped], None]:
    def show(stamped: Stamped) -> None:
        event = stamped.event
        if isinstance(event, Samples) and not wanted.waves:
            return
        said = event_json(event)
        if isinstance(event, IdentityCard) and not wanted.show_personal:
            said = {"type": event.kind, "hidden": "use --show-personal"}
        _print({"at": stamped.received_at.isoformat()} | said)

    return show


async def _watch_live(wanted: argparse.Namespace, link: DeviceLink, clock: Clock) -> None:
    """Redraw in place until it ends; the last picture stays."""
    view = LiveView(wanted.driver, catalog.about(wanted.driver).title_en, wanted.show_personal)
    attending = asyncio.create_task(_attend(wanted, link, clock, view.take))
    sys.stdout.write("\x1b[2J")
    try:
        while not attending.done():
            _draw(view, clock, link.place)
            await asyncio.wait({attending}, timeout=REDRAW_S)
        attending.result()
    finally:
        attending.cancel()
        await asyncio.gather(attending, return_exceptions=True)
        _draw(view, clock, link.place)


def _draw(view: LiveView, clock: Clock, place: str) -> None:
    width = shutil.get_terminal_size().columns
    lines = view.lines(clock.monotonic_s(), place, width)
    sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
    sys.stdout.flush()


def _print(content: dict[str, Any]) -> None:
    print(json.dumps(content, ensure_ascii=False), flush=True)
