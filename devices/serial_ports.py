"""The serial ports and USB HID devices that are there, by the paths that stay, and the news when one comes or goes.

Nothing here opens a port. News come from udev (pyudev); without udevd, in a container, from the kernel itself. A look
every ``LOOK_EVERY_S`` besides finds what neither tells: links that somebody made by hand, and simulated ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

from devices.clock import Clock
from devices.discovery import Port

STABLE_FOLDERS = (Path("/dev/serial/by-path"), Path("/dev/serial/by-id"))
"""by-path first: two equal cables with the same serial number collide by-id."""
LABELS = Path("/dev/xunzhen")
"""Where the van's udev rules put the names of its sockets, see hardware/udev/60-xunzhen.rules."""
HIDRAW = Path("/sys/class/hidraw")
"""One folder for each HID device; ``device/uevent`` has its bus, numbers and name (Linux, drivers/hid/hid-core.c)."""
USB_BUS = 0x0003
UDEVD = Path("/run/udev/control")
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where names of ports stand; the first that has one gives the path."""

    labels: Path = LABELS
    stable: tuple[Path, ...] = STABLE_FOLDERS
    hidraw: Path = HIDRAW


def serial_ports(places: Places | None = None) -> list[Port]:
    """Ports that hold something, and every label, sorted by path."""
    places = places or Places()
    labels, stable = links_in(places.labels), stable_paths(places.stable)
    found = {}
    for port in list_ports.comports():
        label = labels.get(port.device, "")
        known = port.vid is not None and port.pid is not None
        found[port.device] = Port(
            path=label or stable.get(port.device, port.device),
            device=port.device,
            usb_id=f"{port.vid:04x}:{port.pid:04x}" if known else "",
            product=port.product or "",
            serial_number=port.serial_number or "",
            label=Path(label).name if label else "",
            socket=(port.location or "").partition(":")[0],
        )
    for device, label in labels.items():
        found.setdefault(device, Port(path=label, device=device, label=Path(label).name))
    return sorted(found.values(), key=lambda port: port.path)


def hid_devices(places: Places | None = None) -> list[Port]:
    """USB HID devices, also those that are none of ours (keyboards), sorted by path."""
    places = places or Places()
    labels, found = links_in(places.labels), []
    with contextlib.suppress(OSError):
        for folder in sorted(places.hidraw.iterdir()):
            said = _uevent(folder / "device" / "uevent")
            bus, _, numbers = said.get("HID_ID", "").partition(":")
            vendor, _, product = numbers.partition(":")
            with contextlib.suppress(ValueError):
                if int(bus, 16) != USB_BUS:
                    continue
                device = f"/dev/{folder.name}"
                label = labels.get(device, "")
                found.append(
                    Port(
                        path=label or device,
                        device=device,
                        usb_id=f"{int(vendor, 16):04x}:{int(product, 16):04x}",
                        product=said.get("HID_NAME", ""),
                        serial_number=said.get("HID_UNIQ", ""),
                        label=Path(label).name if label else "",
                        transport="hid",
                    )
                )
    return sorted(found, key=lambda port: port.path)


def _uevent(file: Path) -> dict[str, str]:
    """Names and values; nothing when the device has just gone."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def all_ports(places: Places | None = None) -> list[Port]:
    """What a device may be plugged in as."""
    return serial_ports(places) + hid_devices(places)


def stable_paths(folders: tuple[Path, ...]) -> dict[str, str]:
    """/dev/ttyUSBn -> the first link to it in ``folders``."""
    links: dict[str, str] = {}
    for folder in folders:
        for device, link in links_in(folder).items():
            links.setdefault(device, link)
    return links


def links_in(folder: Path) -> dict[str, str]:
    """Device -> link, of the links in ``folder`` to character devices; none without the folder."""
    links: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for link in sorted(folder.iterdir()):
            with contextlib.suppress(OSError):
                if link.is_symlink() and stat.S_ISCHR(link.stat().st_mode):
                    links.setdefault(str(link.resolve()), str(link))
    return links


async def watch_ports(clock: Clock, changed: Callable[[list[Port]], None], places: Places | None = None) -> None:
    """Tell ``changed`` the ports at once and whenever they are others; for ever, to end it, cancel it."""
    told: list[Port] | None = None
    with _plugged() as plugged:
        while True:
            plugged.clear()
            ports = await asyncio.to_thread(all_ports, places)
            if ports != told:
                told = ports
                changed(ports)
            await _either(plugged, clock)


async def _either(plugged: asyncio.Event, clock: Clock) -> None:
    """Until something was plugged, at most ``LOOK_EVERY_S``."""
    waits = {asyncio.ensure_future(plugged.wait()), asyncio.ensure_future(clock.sleep(LOOK_EVERY_S))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


@contextlib.contextmanager
def _plugged(udevd: Path = UDEVD) -> Iterator[asyncio.Event]:
    """Set with every tty or hidraw that comes, goes or changes; never without netlink (no rights, no Linux)."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    try:
        import pyudev

        # udevd tells a device after its links were made; the kernel, a moment before
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="udev" if udevd.exists() else "kernel")
        monitor.filter_by("tty")
        monitor.filter_by("hidraw")
        monitor.start()
    except (ImportError, OSError):
        yield event
        return

    def read() -> None:
        with contextlib.suppress(OSError):
            while monitor.poll(timeout=0) is not None:
                event.set()

    loop.add_reader(monitor.fileno(), read)
    try:
        yield event
    finally:
        loop.remove_reader(monitor.fileno())
