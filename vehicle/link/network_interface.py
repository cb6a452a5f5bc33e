"""Over which interface the van reaches the world, read from the kernel: no packet is sent to find out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROUTES = Path("/proc/net/route")
INTERFACES = Path("/sys/class/net")

_UP = 0x1  # RTF_UP of route(8)


@dataclass(frozen=True, slots=True)
class Interface:
    """The interface of the default route. ``kind``: "mobile", "wifi", "ethernet" or "other"."""

    name: str
    kind: str


def default_interface(routes: Path = ROUTES, interfaces: Path = INTERFACES) -> Interface | None:
    """The interface of the default IPv4 route with the smallest metric; None without such a route."""
    try:
        lines = routes.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return None
    found = []
    for line in lines:
        name, destination, _gateway, flags, _refs, _use, metric, mask = line.split()[:8]
        if destination == "00000000" and mask == "00000000" and int(flags, 16) & _UP:
            found.append((int(metric), name))
    if not found:
        return None
    _, name = min(found)
    return Interface(name, kind_of(name, interfaces))


def kind_of(name: str, interfaces: Path = INTERFACES) -> str:
    """Kind by what the driver says of itself in sysfs, then by the kernel's naming of WWAN devices."""
    folder = interfaces / name
    device_type = _device_type(folder)
    if device_type == "wwan" or name.startswith(("wwan", "ppp")):
        return "mobile"
    if device_type == "wlan" or (folder / "wireless").exists() or (folder / "phy80211").exists():
        return "wifi"
    try:
        arphrd = (folder / "type").read_text(encoding="ascii").strip()
    except OSError:
        return "other"
    return "ethernet" if arphrd == "1" else "other"  # 1 = ARPHRD_ETHER, linux/if_arp.h


def counted_bytes(name: str, interfaces: Path = INTERFACES) -> tuple[int, int] | None:
    """(sent, received) since the interface came up; None when it is gone."""
    folder = interfaces / name / "statistics"
    try:
        return int((folder / "tx_bytes").read_text()), int((folder / "rx_bytes").read_text())
    except (OSError, ValueError):
        return None


def _device_type(folder: Path) -> str:
    try:
        lines = (folder / "uevent").read_text(encoding="ascii").splitlines()
    except OSError:
        return ""
    return next((line.partition("=")[2] for line in lines if line.startswith("DEVTYPE=")), "")
