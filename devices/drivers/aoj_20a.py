"""AOJ-20A infrared thermometer for forehead and ear, over Bluetooth (FFE0).

Frame: ``AA 01 | command | length | data | xor of all from 01 on``. The length byte of C1 and CE is not to be relied on:
these have 3 and 1 bytes. From the device:

====  ==============================================================================================================
C1    a measurement: temperature x 100, u16 BE; mode 1 adult's forehead, 2 child's forehead, 3 ear, 4 a thing
C3    one from its memory: number, year from 2000, month, day, hour, minute, temperature x 100 u16 BE; empty: none
C5    mode, battery 1..10, version
CE    no measurement: E1 room below 10 or above 40 Cel, E2 thing below 0, E3 above 100, E4 body below 32, E5 above 42.9
====  ==============================================================================================================

A thing's temperature (mode 4) is nobody's: it is told as a fault, never as a number. Host: D5 asks for the state, D3
for the memory, once after connecting. What is in it says neither whose it is nor how it was measured, and its clock
cannot be read: it is told as kept from before (``Temperature.from_memory``), never as the person's at hand. What was
measured while connected comes once live and, at the next connection, once more from the memory. Clock (D2), deletion
(D4) and the remote trigger (D1) are never sent: who holds the thermometer presses its button.

Source: viatomEcho/LepuBle (facts). Not tried on hardware by us.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from devices.driver import About, Counters, GattUse, Output, Write
from devices.framing import Frame, xor8
from devices.nomenclature import metrics
from devices.readings import DeviceState, Event, Link, Sensor, Temperature
from devices.sized_frames import SizedFramer

HEAD = b"\xaa\x01"
MEASUREMENT, RECORD, STATE, ERROR = 0xC1, 0xC3, 0xC5, 0xCE
FIXED_LENGTHS = {MEASUREMENT: 3, STATE: 3, ERROR: 1}
RECORD_BYTES = 8
OVERHEAD_BYTES = 5
LONGEST_FRAME = 64
HALF_FRAME_S = 1.0
"""A frame that stands half for so long is given up, so that it does not swallow the next measurement."""
MODES = {1: ("forehead", "adult"), 2: ("forehead", "child"), 3: ("ear", None)}
THING = 4
CAUSES = {
    0xE1: "room below 10 or above 40 Cel",
    0xE2: "thing below 0 Cel",
    0xE3: "thing above 100 Cel",
    0xE4: "body below 32 Cel",
    0xE5: "body above 42.9 Cel",
}
LOWEST_CE2, HIGHEST_CE2 = 3200, 4290
"""What the thermometer shows of a body; outside it says so with an error."""


def command(code: int, data: bytes = b"") -> bytes:
    frame = HEAD + bytes((code, len(data))) + data
    return frame + bytes((xor8(frame[1:]),))


ASK_STATE, ASK_MEMORY = command(0xD5), command(0xD3)
ASK_PAUSE_S = 0.3


class Driver:
    about: ClassVar[About] = About(
        title_zh="爱奥乐 AOJ-20A 红外体温计",
        title_en="AOJ-20A infrared thermometer",
        models=("AOJ-20A",),
        metrics=metrics("temperature", "temperature_c"),
        line=GattUse(
            service="FFE0", subscribe=("FFE1",), write="FFE2", names=("AOJ-20",), shared_service=True, bond=False
        ),
        source="viatomEcho/LepuBle (facts); hardware/protocols/aoj_20a.md",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_STATE, ASK_MEMORY)

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = SizedFramer(HEAD, _size, _is_good, LONGEST_FRAME, self.counters)
        self._said = DeviceState(Link.CONNECTED)
        self._quiet_s = 0.0

    def open(self) -> Output:
        self._framer.reset()
        self._said = DeviceState(Link.CONNECTED)
        return Output(writes=[Write(ASK_STATE), Write(ASK_MEMORY, after_s=ASK_PAUSE_S)])

    def close(self) -> Output:
        self._framer.reset()
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        self._quiet_s = 0.0 if chunk else self._quiet_s
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Frame):
                self._take(piece.payload[2], piece.payload[4:-1], output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        self._quiet_s += elapsed_s
        if self._quiet_s >= HALF_FRAME_S:
            self._framer.give_up()
        return Output()

    def _take(self, code: int, data: bytes, events: list[Event]) -> None:
        if code == MEASUREMENT:
            self._measurement(int.from_bytes(data[:2], "big"), data[2], events)
        elif code == ERROR:
            cause = CAUSES.get(data[0], f"code {data[0]:02X}")
            self._tell(events, sensor=Sensor.ERROR, fault="temperature_not_measured", vendor_text=cause)
        elif code == RECORD and len(data) == RECORD_BYTES:
            _record(data, events)
        elif code == STATE and 1 <= data[1] <= 10:
            self._tell(events, battery_percent=data[1] * 10)

    def _measurement(self, temperature_ce2: int, mode: int, events: list[Event]) -> None:
        if mode == THING:
            self._tell(events, sensor=Sensor.ERROR, fault="thermometer_measures_things", vendor_text=None)
        elif mode in MODES and LOWEST_CE2 <= temperature_ce2 <= HIGHEST_CE2:
            site, person = MODES[mode]
            events.append(Temperature(temperature_ce2 / 100, site=site, mode=person))
            self._tell(events, sensor=Sensor.OK, fault=None, vendor_text=None)
        else:
            cause = f"mode {mode}, {temperature_ce2 / 100:g} Cel"
            self._tell(events, sensor=Sensor.ERROR, fault="temperature_not_measured", vendor_text=cause)

    def _tell(self, events: list[Event], **changed: Any) -> None:
        state = replace(self._said, **changed)
        if state != self._said:
            self._said = state
            events.append(state)


def _record(data: bytes, events: list[Event]) -> None:
    """One of its memory; a thing's, or one without a time to know it by when it comes again, is left out."""
    _, year, month, day, hour, minute = data[:6]
    temperature_ce2 = int.from_bytes(data[6:], "big")
    with suppress(ValueError):
        shown_at = datetime(2000 + year, month, day, hour, minute)  # noqa: DTZ001  as the device shows it, without zone
        if LOWEST_CE2 <= temperature_ce2 <= HIGHEST_CE2:
            events.append(Temperature(temperature_ce2 / 100, from_memory=True, device_said_at=shown_at.isoformat()))


def _size(held: bytes) -> int | None:
    if len(held) < 4:
        return None
    return FIXED_LENGTHS.get(held[2], held[3]) + OVERHEAD_BYTES


def _is_good(frame: bytes) -> bool:
    return xor8(frame[1:]) == 0
