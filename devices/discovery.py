"""What is there and not yet a device of ours: candidates with what speaks for them. Pure.

A candidate is a place (a port, a Bluetooth address, an address on the network) with the drivers worth trying there and
the evidence in words. What it really is, its driver's first frames say: ``devices.identify``. A port is ``ours``, and
may be tried without being asked, only when a driver names its USB id or when the van's udev rules have labelled it; for
any other port a person has to say what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from devices import catalog
from devices.driver import GattUse, Match
from devices.identity import Identity
from devices.session import DeviceSettings, LinkKind, links_of

GPSD = "gpsd"
"""The kind of network device that has a driver here, as ``vehicle.announce`` names it."""
LABELS = {
    "ecg": "ecg",
    "oximeter": "spo2_percent",
    "card": "identity_card",
    "gnss": "position",
    "modem": "cellular",
}
"""Names below /dev/xunzhen (with a number where there are two) -> what such a device measures."""


PLUGGED: frozenset[LinkKind] = frozenset({"serial", "hid"})
"""Links of what is plugged into this PC, and pulled out."""


class Confidence(IntEnum):
    """How sure it is that a candidate is a device that we can read."""

    UNKNOWN = 0
    """A port, and nothing speaks for it."""
    POSSIBLE = 1
    """An adapter that many makers use; a name on the air."""
    LIKELY = 2
    """Its own USB id, its udev label, its announced service."""
    IDENTIFIED = 3
    """It answered as its driver expects."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for a candidate. ``kind`` is "usb", "product", "label", "socket", "name", "service",
    "announced", "frames" or "said"; ``text`` is as the device or the system has it."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    transport: LinkKind
    address: str
    """The path that stays, the Bluetooth address, or host:port (for "listen" our own)."""
    drivers: tuple[str, ...] = ()
    """Worth trying, in this order."""
    confidence: Confidence = Confidence.UNKNOWN
    evidence: tuple[Evidence, ...] = ()
    ours: bool = False
    """May be tried without being asked."""
    identity: Identity | None = None
    """What it said of itself when it answered."""
    device: str = ""
    """/dev/ttyUSB0 of a port, for comparing only: it changes with every plug."""

    @property
    def key(self) -> str:
        return f"{self.transport} {self.address}"

    @property
    def names(self) -> tuple[str, ...]:
        """Under which a device of ours may know the place."""
        return (self.address, self.device) if self.device else (self.address,)

    def settings(self, name: str, driver: str, title: str = "") -> DeviceSettings:
        """The device that this candidate becomes."""
        ours = self.transport in PLUGGED or self.transport == "listen"
        place = {"port": self.address} if ours else {"address": self.address}
        return DeviceSettings.model_validate(
            {"name": name, "driver": driver, "link": self.transport, "title": title, **place}
        )


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port, or a USB HID device, as the system has it."""

    path: str
    """The path that stays when there is one, else the device's own."""
    device: str
    """/dev/ttyUSB0, /dev/hidraw0: changes with every plug."""
    usb_id: str = ""
    """"10c4:ea60"; empty for ports that are no USB device."""
    product: str = ""
    serial_number: str = ""
    label: str = ""
    """Name below /dev/xunzhen, given by the van's udev rules."""
    socket: str = ""
    """Where the cable sits: "1-3.2", the bus and the hub ports up to the socket."""
    transport: LinkKind = "serial"


def of_port(port: Port) -> Candidate:
    """Never guesses at ports of other programs: without a USB id that a driver names, or a label, nothing is tried."""
    known = drivers_of_label(port.label, port.transport) or drivers_of_usb(port.usb_id, port.transport)
    evidence = [
        Evidence(kind, text)
        for kind, text in (
            ("label", port.label),
            ("product", port.product),
            ("usb", port.usb_id),
            ("socket", port.socket),
        )
        if text
    ]
    confidence = Confidence.UNKNOWN
    if known:
        confidence = Confidence.LIKELY if port.label or len(known) == 1 else Confidence.POSSIBLE
    return Candidate(port.transport, port.path, known, confidence, tuple(evidence), bool(known), device=port.device)


def of_advertisement(address: str, name: str, services: Collection[str]) -> Candidate | None:
    """
    :param services: full UUIDs in lower case
    :returns: None for a device that no driver knows: telephones, watches, televisions.
    """
    matches = {driver: _match(driver, name, services) for driver in catalog.drivers()}
    found = sorted((driver for driver, match in matches.items() if match), key=lambda driver: -matches[driver])
    if not found:
        return None
    best = matches[found[0]]
    evidence = [Evidence("name", name)] if name else []
    evidence += [Evidence("service", short_uuid(service)) for service in sorted(services)]
    confidence = Confidence.LIKELY if best >= Match.SERVICE else Confidence.POSSIBLE
    drivers = tuple(driver for driver in found if matches[driver] is best)
    return Candidate("bluetooth", address, drivers, confidence, tuple(evidence))


def of_service(kind: str, name: str, address: str, port: int) -> Candidate | None:
    """A network device that announces itself and that a driver calls; None for all others (cameras, printers)."""
    if kind != GPSD or not address:
        return None
    place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    evidence = (Evidence("announced", kind), Evidence("name", name))
    return Candidate("tcp", place, ("gpsd_gnss",), Confidence.LIKELY, evidence, ours=True)


def of_local_gpsd(port: int) -> Candidate:
    """A gpsd that runs on this machine: it owns the ports of its receivers."""
    return Candidate(
        "tcp", f"127.0.0.1:{port}", ("gpsd_gnss",), Confidence.LIKELY, (Evidence("announced", "gpsd"),), ours=True
    )


def unused(
    candidates: Iterable[Candidate],
    devices: Iterable[DeviceSettings],
    resolve: Callable[[str], str] = lambda path: path,
) -> list[Candidate]:
    """Those that are no device of ours yet; the surest first, then by address.

    :param resolve: what a path stands for now, ``os.path.realpath``: one port may have several names that stay
    """
    taken = set()
    for device in devices:
        place = resolve(device.port) if device.link in PLUGGED else device.address
        taken |= {f"{device.link} {place}".casefold(), f"{device.link} {device.port}".casefold()}
    left = [one for one in candidates if not {f"{one.transport} {name}".casefold() for name in one.names} & taken]
    return sorted(left, key=lambda one: (-one.confidence, one.transport, one.address))


def identified(candidate: Candidate, driver: str, identity: Identity | None, *evidence: Evidence) -> Candidate:
    """The candidate after its driver understood it."""
    return replace(
        candidate,
        drivers=(driver,),
        confidence=Confidence.IDENTIFIED,
        evidence=(*candidate.evidence, *evidence),
        identity=identity,
    )


def drivers_of_usb(usb_id: str, transport: LinkKind = "serial") -> tuple[str, ...]:
    """The drivers that name a USB id; those that only listen first: they do no harm to a device that is another one."""
    named = [driver for driver in _spoken_over(transport) if usb_id and usb_id in catalog.about(driver).usb_ids]
    return tuple(sorted(named, key=_writes))


def short_uuid(uuid: str) -> str:
    """ "00001810-0000-1000-8000-00805f9b34fb" -> "1810"; vendors' own stay whole."""
    return uuid[4:8].upper() if uuid.endswith("-0000-1000-8000-00805f9b34fb") and uuid.startswith("0000") else uuid


def drivers_of_label(label: str, transport: LinkKind = "serial") -> tuple[str, ...]:
    """What the operator says a labelled socket is: a driver by its id, or a kind of device (``LABELS``)."""
    wanted = LABELS.get(label.rstrip("-0123456789"), "")
    known = {name: catalog.about(name) for name in _spoken_over(transport)}
    if label in known:
        return (label,)
    kind = [name for name, about in known.items() if any(metric.key == wanted for metric in about.metrics)]
    return tuple(sorted(kind, key=_writes))


def _spoken_over(transport: LinkKind) -> list[str]:
    return [driver for driver in catalog.drivers() if transport in links_of(driver)]


def _writes(driver: str) -> bool:
    return bool(catalog.driver(driver)().allowed_writes)


def _match(driver: str, name: str, services: Collection[str]) -> Match:
    return max((use.match(name, services) for use in catalog.about(driver).lines(GattUse)), default=Match.NOT)
