"""What every driver of a Bluetooth SIG health profile does alike. Pure.

Beside the measurement such a device offers Battery (0x180F), Device Information (0x180A) and often a clock: Date Time
(0x2A08) within the profile's own service, as A&D has it, or Current Time (0x2A2B). They are read once after connecting.

The clock of the device is written in one case only: the operator wants it for this device (``set_clock`` in its
settings), the device showed a clock, and it is off by more than ``CLOCK_MAY_BE_OFF``. Results that a cuff or a scale
keeps are worth nothing with a wrong date, and some (A&D UA-651BLE) have no other way to be set. The write follows the
connection by ``CLOCK_PAUSE_S``, which is within the five seconds after bonding that A&D allows.

Sources: Battery Service 1.1, Device Information Service 1.2, Current Time Service 1.1, GATT Specification Supplement
(Date Time, Current Time), A&D UA-651BLE communication guide as in weliem/blessed-android.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from devices.driver import About, Counters, GattUse, Output, Write
from devices.identity import Identity
from devices.readings import DeviceClock, DeviceState, Link
from devices.sig import Fields, Special, Truncated, date_time, said_at

BATTERY_LEVEL = "2A19"
DATE_TIME, CURRENT_TIME = "2A08", "2A2B"
INFORMATION = {"2A29": "vendor", "2A24": "model", "2A25": "serial", "2A26": "firmware"}
READ = (BATTERY_LEVEL, DATE_TIME, CURRENT_TIME, *INFORMATION)

CLOCK_MAY_BE_OFF = timedelta(minutes=2)
CLOCK_PAUSE_S = 0.7
YEARS_SET = range(2024, 2100)
CLOCK_WRITES = tuple(year.to_bytes(2, "little") for year in YEARS_SET)
"""How a Date Time that is written may begin."""

Take = Callable[[bytes], Output]


class ProfileDriver:
    """A driver gives ``about``, what it takes (``takes``), and whatever else its profile wants."""

    about: ClassVar[About]
    allowed_writes: ClassVar[tuple[bytes, ...]] = ()
    clock_to_set: datetime | None = None
    """The host's own time as a clock on the wall shows it; set before ``open`` where the clock may be written."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.identity: Identity | None = None
        self._state = DeviceState(Link.CONNECTED)
        self._open_s = 0.0
        self._clock_due_s: float | None = None
        self._takes: dict[str, Take] = {
            BATTERY_LEVEL: self._on_battery,
            DATE_TIME: self._on_date_time,
            CURRENT_TIME: self._on_current_time,
            **{name: self._informed(field) for name, field in INFORMATION.items()},
            **self.takes(),
        }

    def takes(self) -> Mapping[str, Take]:
        """Characteristic -> what is done with a value of it; a value that is too short raises ``Truncated``."""
        raise NotImplementedError

    def open(self) -> Output:
        self.identity = None
        self._open_s, self._clock_due_s = 0.0, None
        self._state = DeviceState(Link.CONNECTED, battery_percent=self._state.battery_percent)
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        """One characteristic value; an empty ``channel`` means the measurement."""
        take = self._takes.get(channel or self.about.lines(GattUse)[0].subscribe[0])
        if take is None:
            self.counters.dropped_bytes += len(chunk)
            return Output()
        try:
            output = take(chunk)
        except Truncated:
            self.counters.dropped_bytes += len(chunk)
            return Output()
        self.counters.frames += 1
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._open_s += elapsed_s
        if self._clock_due_s is not None and self._open_s >= self._clock_due_s:
            self._clock_due_s = None
            if self.clock_to_set is not None:
                shown = self.clock_to_set + timedelta(seconds=self._open_s)
                output.writes.append(Write(date_time(shown), DATE_TIME))
        return output

    def close(self) -> Output:
        return Output()

    def now(self, **changed: Any) -> DeviceState:
        """The device's state with what has changed."""
        self._state = replace(self._state, counters=self.counters.as_dict(), **changed)
        return self._state

    def _on_battery(self, value: bytes) -> Output:
        percent = Fields(value).uint8()
        if percent > 100:
            raise Truncated(f"battery level {percent} is reserved")
        return Output([self.now(battery_percent=percent)])

    def _informed(self, field: str) -> Take:
        def take(value: bytes) -> Output:
            said = value.rstrip(b"\0").decode("utf-8", "replace")
            self.identity = replace(self.identity or Identity(), **{field: said})
            return Output()

        return take

    def _on_date_time(self, value: bytes) -> Output:
        shown, wanted = Fields(value).date_time(), self.clock_to_set
        if wanted is not None and wanted.year in YEARS_SET and _is_off(shown, wanted):
            self._clock_due_s = self._open_s + CLOCK_PAUSE_S
        return self._told_clock(shown)

    def _on_current_time(self, value: bytes) -> Output:
        return self._told_clock(Fields(value).date_time())

    def _told_clock(self, shown: datetime | None) -> Output:
        at = said_at(shown)
        return Output([] if at is None else [DeviceClock(at)])


def _is_off(shown: datetime | None, wanted: datetime) -> bool:
    return shown is None or abs(shown - wanted) > CLOCK_MAY_BE_OFF


def number(value: float | Special | None) -> float | None:
    """None where the device says that it has none."""
    return None if isinstance(value, Special) else value


def above_zero(value: float | Special | None) -> float | None:
    """The same for what nobody living has none of: 0 and less are how simple firmware writes "not measured"."""
    said = number(value)
    return said if said is not None and said > 0 else None
