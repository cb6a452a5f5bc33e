"""The driver contract: sans-I/O. Bytes in, events out; a driver never opens, sleeps or reads a clock.

A driver file holds one class named ``Driver`` with ``about`` and the methods of ``DriverContract``;
``devices.catalog`` finds it by its file name, which is the driver's id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from devices.readings import Event


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


@dataclass(frozen=True, slots=True)
class GattUse:
    """Which service announces the device and which characteristics to subscribe, in this order."""

    service: str
    """16-bit UUIDs as four hex digits ("1808"), others as 36 characters."""
    subscribe: tuple[str, ...]
    read: tuple[str, ...] = ()
    """Read once after connecting (2A19 battery, 2A29 manufacturer...) and fed to the driver."""
    bond: bool = True


@dataclass(frozen=True, slots=True)
class About:
    """The label on a driver."""

    title_zh: str
    title_en: str
    models: tuple[str, ...]
    metrics: tuple[Metric, ...]
    line: SerialLine | GattUse
    source: str
    """Where the wire format comes from: standard and clause, vendor document, public capture."""
    hardware_tested: str = "no"
    """"no", or model, firmware and date."""
    lost_after_s: float = 3.0
    """Silence after which the device counts as lost; infinite for devices that speak only when used."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for the device. ``after_s`` is the pause before sending, counted from the previous write."""

    payload: bytes
    channel: str = ""
    """Empty for serial; the characteristic for GATT."""
    after_s: float = 0.0


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
