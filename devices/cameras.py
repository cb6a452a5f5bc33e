"""The cameras and capture cards that are plugged in, by the paths that stay. Nothing here opens one.

Linux names each V4L2 device in /sys/class/video4linux: ``name``, ``index`` (0 the picture; others carry its metadata)
and ``device``, which leads to the USB device with its numbers (Documentation/ABI/stable/sysfs-class-video4linux).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Camera:
    path: str
    """The one to keep: below /dev/v4l/by-path where udev made a link, so that two equal cards are told apart."""
    device: str
    """/dev/videoN."""
    name: str
    """What it calls itself: "USB3. 0 capture: USB3. 0 captur"."""
    usb_id: str
    """ "534d:2109"; empty for one that is not on USB."""
    socket: str
    """Where it is plugged in, as the kernel counts USB sockets: "1-1.4"."""


@dataclass(frozen=True, slots=True)
class CameraPlaces:
    classes: Path = Path("/sys/class/video4linux")
    stable: Path = Path("/dev/v4l/by-path")
    devices: Path = Path("/dev")


def cameras(places: CameraPlaces | None = None) -> list[Camera]:
    """Sorted by path; none where Linux knows no video device."""
    places = places or CameraPlaces()
    links = _links(places.stable)
    found = []
    with contextlib.suppress(OSError):
        for folder in places.classes.iterdir():
            if _text(folder / "index") not in ("", "0"):
                continue
            usb = _usb_of(folder)
            numbers = [] if usb is None else [_text(usb / "idVendor"), _text(usb / "idProduct")]
            device = str(places.devices / folder.name)
            path = links.get(folder.name, device)
            found.append(Camera(path, device, _text(folder / "name"), ":".join(numbers), usb.name if usb else ""))
    return sorted(found, key=lambda camera: camera.path)


def _usb_of(folder: Path) -> Path | None:
    """The USB device that the interface behind ``device`` belongs to."""
    interface = (folder / "device").resolve()
    return next((one for one in (interface, *interface.parents) if (one / "idVendor").is_file()), None)


def _links(folder: Path) -> dict[str, str]:
    """ "video0" -> the first link to it."""
    links: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for link in sorted(folder.iterdir()):
            links.setdefault(link.resolve().name, str(link))
    return links


def _text(file: Path) -> str:
    """Empty when there is none, or the camera has just gone."""
    with contextlib.suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace").strip()
    return ""
