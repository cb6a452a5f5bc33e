"""The driver contract: sans-I/O. Bytes in, events out; a driver never opens, sleeps or reads a clock.

A driver file holds one class named ``Driver`` with ``about`` and the methods of ``DriverContract``;
``devices.catalog`` finds it by its file name, which is the driver's id.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import ClassVar, Protocol, TypeVar

from devices.readings import Event

BASE_UUID = "0000{}-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a device can measure, in the codes of the field."""

    key: str
    """"ecg", "pleth", "spo2_percent", "systolic_mmhg", ..."""
    mdc: int | None
    loinc: str | None
    ucum: str
    sample_rate_hz: float | None = None


@dataclass(frozen=True, slots=True)
class SerialLine:
    """How to open the port. ``parity`` is "N", "E" or "O"."""

    baud_rate: int
    parity: str = "N"
    stop_bits: int = 1
    dtr: bool = False
    rts: bool = False


class Match(IntEnum):
    """How surely an advertisement is the device that is looked for; the higher one gets it."""

    NOT = 0
    NAME = 1
    SERVICE = 2
    SERVICE_AND_NAME = 3
    ADDRESS = 4


@dataclass(frozen=True, slots=True)
class GattUse:
    """How a Bluetooth device is recognised and which of its characteristics are used.

    A protocol of a maker's own is a stream of bytes: what any subscribed characteristic notifies is fed as it comes,
    cut anywhere, and ``Write`` without a channel goes to ``write``. No MTU is asked for: bluetoothd asks every device
    for the largest, and one that cuts its frames at 20 bytes is fed in such pieces.
    """

    service: str
    """The service that announces the device; 16-bit UUIDs as four hex digits ("1808"), others as 36 characters.

    Empty: not known. The first vendor service (outside 0x18xx) that notifies and can be written is used, its notifying
    and its first written characteristic; ``subscribe`` and ``write`` stay empty, and what comes has channel "".
    """
    subscribe: tuple[str, ...]
    """In this order. Without the first one the device is not ours; others may be missing."""
    read: tuple[str, ...] = ()
    """Read once after connecting (2A19 battery, 2A29 manufacturer...) and fed to the driver."""
    bond: bool = True
    write: str = ""
    """Where a ``Write`` without a channel goes; with response where the characteristic offers it."""
    names: tuple[str, ...] = ()
    """Beginnings of advertised names, upper and lower case alike: for devices that do not advertise ``service``."""
    shared_service: bool = False
    """Makers share ``service`` (Nordic UART): the name decides alone."""

    @property
    def is_stream(self) -> bool:
        """One way in and one out, as a serial line: frames may come cut and joined anywhere."""
        return not self.service or (len(self.subscribe) == 1 and bool(self.write))

    def match(self, name: str, services: Collection[str]) -> Match:
        """What an advertisement with this name and these services (full, lower-case UUIDs) says; never ADDRESS."""
        named = name.casefold().startswith(_folded(self.names))
        announced = bool(self.service) and full_uuid(self.service) in services
        if named:
            return Match.SERVICE_AND_NAME if announced else Match.NAME
        return Match.SERVICE if announced and not self.shared_service else Match.NOT


@lru_cache(maxsize=256)  # asked of every advertisement in reach
def _folded(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.casefold() for name in names)


@lru_cache(maxsize=256)
def full_uuid(uuid: str) -> str:
    """ "2A18" -> "00002a18-0000-1000-8000-00805f9b34fb"; 36 characters stay as they are, in lower case."""
    return BASE_UUID.format(uuid.lower()) if len(uuid) == 4 else uuid.lower()


@dataclass(frozen=True, slots=True)
class TcpListener:
    """The device is the TCP client and calls us, as analysers do (HL7 over MLLP, ASTM over TCP)."""


@dataclass(frozen=True, slots=True)
class TcpService:
    """The device, or a daemon in front of it, waits to be called: at ``port`` unless its address names another."""

    port: int


@dataclass(frozen=True, slots=True)
class HidUse:
    """Reports of a USB HID device: each one that comes is one ``feed``, each ``Write`` one report filled with zeros."""

    input_bytes: int = 64
    output_bytes: int = 64


Line = SerialLine | GattUse | TcpListener | TcpService | HidUse
SomeLine = TypeVar("SomeLine", SerialLine, GattUse, TcpListener, TcpService, HidUse)


@dataclass(frozen=True, slots=True)
class About:
    """The label on a driver."""

    title_zh: str
    title_en: str
    models: tuple[str, ...]
    metrics: tuple[Metric, ...]
    line: Line | tuple[Line, ...]
    """How the device is reached. Several: ways of different kinds (the settings choose), or variants of one kind."""
    source: str
    """Where the wire format comes from: standard and clause, vendor document, public capture."""
    hardware_tested: str = "no"
    """"no", or model, firmware and date."""
    usb_ids: tuple[str, ...] = ()
    """"10c4:ea60": adapters or devices on whose port this device may be looked for without being asked. Adapters are
    used by many makers, so it is a hint, no more; see ``devices.identify``."""
    lost_after_s: float = 3.0
    """Silence after which the device counts as lost; infinite for devices that speak only when used."""

    def speaks_when_used(self, link: str) -> bool:
        """Away between uses, as it should be: a meter, or what runs on a battery and is reached over the air.

        :param link: how the settings reach it
        """
        return math.isinf(self.lost_after_s) or link == "bluetooth"

    def lines(self, kind: type[SomeLine]) -> tuple[SomeLine, ...]:
        """The ways of one kind; empty: the device has none."""
        return lines_of(self.line, kind)


def lines_of(line: Line | tuple[Line, ...], kind: type[SomeLine]) -> tuple[SomeLine, ...]:
    """The ways of one kind among one or several."""
    return tuple(one for one in (line if isinstance(line, tuple) else (line,)) if isinstance(one, kind))


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for the device. ``after_s`` is the pause before sending, counted from the previous write."""

    payload: bytes
    channel: str = ""
    """The characteristic for GATT; empty: ``GattUse.write``, or the serial line."""
    after_s: float = 0.0
    after_stored: bool = False
    """An acknowledgement after which the device forgets: sent only once every event so far is durable."""


@dataclass(slots=True)
class Counters:
    """Health of the framing, exposed in ``DeviceState.counters``."""

    frames: int = 0
    bad_checksums: int = 0
    resyncs: int = 0
    dropped_bytes: int = 0
    gaps: int = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Output:
    """What one call of a driver yields."""

    events: list[Event] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)


class DriverContract(Protocol):
    """A driver may also have ``identity`` (``devices.identity``); ``last_sequence``, set by the session before ``open``
    for a device that keeps numbered records; ``known_recordings`` (start, number of values), set likewise for one that
    keeps stretches of oximetry; ``clock_to_set``, set likewise where the device's clock may be set.
    """

    about: ClassVar[About]
    allowed_writes: ClassVar[tuple[bytes, ...]]
    """Prefixes of everything this driver may ever send; a test fails on any other output."""
    counters: Counters

    def open(self) -> Output:
        """Called when the link is up, again after every reconnect: forgets half frames, says how to start."""
        ...

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        """Bytes as they came, cut anywhere. Never raises for any bytes."""
        ...

    def tick(self, elapsed_s: float) -> Output:
        """Called about every 0.1 s with the time since the last tick: keep-alives, polls, sensor withdrawal."""
        ...

    def close(self) -> Output:
        """Writes that stop the stream before the link is given up."""
        ...
