"""Sinocare (三诺, 诺凡) blood-pressure cuffs BA-803 and BA-806 over Bluetooth, name "ClinkBlood".

Service FC00, notify FCA1, write FCA0. The module's maker sells it to others too: ear thermometers and glucose meters
have the same service and even the same name. Frames of a cuff say 0B in their second byte; only such are read.

Frame: ``length | 0B | command | data .. | sum``: the length counts the whole frame, the sum is the low byte of the sum
of all before it.

====  ==============================================================================================================
B1    the measurement starts; B2 it was stopped; B3 and B4 zeroing
B5    battery; its scale is not documented, so it is not told
B7    on the way: byte 4 the pressure in the cuff in mmHg
B8    result: byte 4 systolic, 5 diastolic, 6 pulse
B9    error, byte 3 a code that is not documented
BA    switched off; BB battery low
BD    year - 2000, month, day and BE hour, minute: when the result before them was measured
====  ==============================================================================================================

Host: ``04 B0 A0 54`` says that we are there. Never sent: ``04 B0 A1 55``, which inflates the cuff.
Source: parser of Unionman Technology (Apache-2.0), Sinocare_Detection_SDK_Android (Apache-2.0; process code B7), two
more public readers for bytes 4 to 6. Byte 3 of B8 is ignored by all of them, so a pressure over 255 mmHg cannot be
told. Not tested on hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from devices.driver import About, Counters, GattUse, Output, Write
from devices.framing import Frame
from devices.nomenclature import metrics
from devices.readings import BloodPressure, CuffPressure, DeviceState, Event, Link, Sensor
from devices.sized_frames import SizedFramer

CUFF = 0x0B
SHORTEST, LONGEST = 4, 20
STARTS, STOPPED, ON_THE_WAY, RESULT, FAILED, BATTERY_LOW, DATE, TIME = 0xB1, 0xB2, 0xB7, 0xB8, 0xB9, 0xBB, 0xBD, 0xBE
WE_ARE_HERE = bytes.fromhex("04B0A054")
DATE_WITHIN_S = 1.5
"""Date and time come after a result; later it is told without them."""
SILENT_S = 5.0
REST_WITHIN_S = 1.0


def framer(counters: Counters) -> SizedFramer:
    return SizedFramer(b"", _size_of, lambda frame: sum(frame[:-1]) & 0xFF == frame[-1], LONGEST, counters)


def _size_of(held: bytes) -> int | None:
    if held and not SHORTEST <= held[0] <= LONGEST:
        return 0
    if len(held) > 1 and held[1] != CUFF:
        return 0
    return held[0] if len(held) > 1 else None


@dataclass(frozen=True, slots=True)
class Held:
    """A result that waits for its date and time."""

    pressure: BloodPressure
    date: tuple[int, int, int] | None = None


class Driver:
    about: ClassVar[About] = About(
        title_zh="三诺蓝牙血压计",
        title_en="Sinocare Bluetooth cuff",
        models=("BA-803", "BA-806"),
        metrics=metrics("blood_pressure", "systolic_mmhg", "diastolic_mmhg", "pulse_bpm"),
        line=GattUse(
            service="FC00",
            subscribe=("FCA1",),
            write="FCA0",
            names=("ClinkBlood",),
            shared_service=True,
            bond=False,
        ),
        source="parser of Unionman Technology (Apache-2.0); hardware/protocols/sinocare_ba80x.md",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (WE_ARE_HERE,)

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = framer(self.counters)
        self._begin()

    def _begin(self) -> None:
        self._framer.reset()
        self._state = DeviceState(Link.CONNECTED)
        self._held: Held | None = None
        self._held_s = 0.0
        self._inflated = False
        self._silent_s = 0.0

    def open(self) -> Output:
        self._begin()
        return Output(writes=[Write(WE_ARE_HERE)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._at_rest(output.events)
        self._let_go(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        self._silent_s = 0.0 if chunk else self._silent_s
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Frame):
                self._take(piece.payload[2], piece.payload[3:-1], output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._silent_s += elapsed_s
        if self._silent_s >= REST_WITHIN_S:
            self._framer.reset()
        if self._silent_s >= SILENT_S:
            self._at_rest(output.events)
        self._held_s += elapsed_s
        if self._held_s >= DATE_WITHIN_S:
            self._let_go(output.events)
        return output

    def _take(self, command: int, data: bytes, events: list[Event]) -> None:
        if command == STARTS:
            self._tell(events, sensor=Sensor.OK, fault=None, vendor_text=None)
        elif command == STOPPED:
            self._at_rest(events)
        elif command == ON_THE_WAY and len(data) >= 2:
            self._inflated = True
            events.append(CuffPressure(data[1]))
        elif command == RESULT and len(data) >= 4:
            self._on_result(data[1], data[2], data[3], events)
        elif command == FAILED:
            self._at_rest(events)
            text = f"B9, code {data[0]}" if data else "B9"
            self._tell(events, sensor=Sensor.ERROR, fault="blood_pressure_not_measured", vendor_text=text)
        elif command == BATTERY_LOW:
            self._at_rest(events)
            self._tell(events, sensor=Sensor.ERROR, fault="device_battery_low", vendor_text="BB")
        elif command in (DATE, TIME):
            self._on_date(command, data, events)

    def _on_result(self, systolic: int, diastolic: int, pulse: int, events: list[Event]) -> None:
        self._at_rest(events)
        self._let_go(events)
        if not systolic or not diastolic:
            text = "B8 without a value"
            self._tell(events, sensor=Sensor.ERROR, fault="blood_pressure_not_measured", vendor_text=text)
            return
        self._held, self._held_s = Held(BloodPressure(systolic, diastolic, pulse_bpm=pulse or None)), 0.0

    def _on_date(self, command: int, data: bytes, events: list[Event]) -> None:
        if self._held is None:
            return
        if command == DATE and len(data) >= 3:
            self._held = replace(self._held, date=(2000 + data[0], data[1], data[2]))
        elif command == TIME and len(data) >= 2:
            self._let_go(events, said_at(self._held.date, data[0], data[1]))

    def _let_go(self, events: list[Event], said: str | None = None) -> None:
        """Tell the result that is held, if there is one."""
        if self._held is not None:
            events.append(replace(self._held.pressure, device_said_at=said))
            self._held = None
            self._tell(events, sensor=Sensor.OK, fault=None, vendor_text=None)

    def _at_rest(self, events: list[Event]) -> None:
        if self._inflated:
            self._inflated = False
            events.append(CuffPressure(None))

    def _tell(self, events: list[Event], **changed: Any) -> None:
        state = replace(self._state, **changed)
        if state != self._state:
            self._state = state
            events.append(state)


def said_at(date: tuple[int, int, int] | None, hour: int, minute: int) -> str | None:
    """ISO 8601 without zone, to the second as everywhere; None: no calendar has it."""
    if date is None:
        return None
    try:
        return datetime(*date, hour, minute).isoformat(timespec="seconds")  # noqa: DTZ001  a device's clock has no zone
    except ValueError:
        return None
