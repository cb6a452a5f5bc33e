"""What is plugged in: serial ports, each with the path that stays when cables are pulled and put back.

Nothing here opens a port: which device speaks on it is settled by its driver's first frames, never by USB numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

STABLE_FOLDERS = (Path("/dev/serial/by-path"), Path("/dev/serial/by-id"))
"""by-path first: two equal cables with the same serial number collide by-id."""

USB_HINTS: dict[tuple[int, int], tuple[str, ...]] = {
    (0x10C4, 0xEA60): ("contec_8000g", "contec_cms50_v7"),
    (0x0400, 0xC35A): ("sam_id_card",),
    (0x1546, 0x01A7): ("nmea_gnss",),
    (0x1546, 0x01A8): ("nmea_gnss",),
}
"""Which drivers to try on an adapter. CP210x cables are used by many makers: a hint, no more."""


@dataclass(frozen=True, slots=True)
class PortFound:
    path: str
    """The path to write into the settings: one that stays when there is one."""
    device: str
    usb_id: str | None
    """"10c4:ea60"."""
    product: str | None
    try_drivers: tuple[str, ...]


def serial_ports(stable_folders: tuple[Path, ...] = STABLE_FOLDERS) -> list[PortFound]:
    """Ports that hold something, sorted by path."""
    stable = stable_paths(stable_folders)
    found = []
    for port in list_ports.comports():
        usb = (port.vid, port.pid) if port.vid is not None and port.pid is not None else None
        found.append(
            PortFound(
                path=stable.get(port.device, port.device),
                device=port.device,
                usb_id=None if usb is None else f"{usb[0]:04x}:{usb[1]:04x}",
                product=port.product,
                try_drivers=() if usb is None else USB_HINTS.get(usb, ()),
            )
        )
    return sorted(found, key=lambda port: port.path)


def stable_paths(folders: tuple[Path, ...]) -> dict[str, str]:
    """/dev/ttyUSBn -> the first link to it in ``folders``."""
    links: dict[str, str] = {}
    for folder in folders:
        if folder.is_dir():
            for link in sorted(folder.iterdir()):
                links.setdefault(str(link.resolve()), str(link))
    return links
