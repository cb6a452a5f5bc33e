"""Contec 08A upper-arm cuff over USB HID (0483:5750): its memory, three users of up to 100 results each. Experimental.

It measures by its own button; what it stored is read when it is plugged in and every POLL_S after. The Contec ECG90A
has the same USB numbers: nothing but the harmless questions 40 and 42 is sent before 42 was answered as by a cuff.
Reports are 64 bytes both ways, host reports filled with zeros:

==========================  ==========================================================================================
report                      what it is
==========================  ==========================================================================================
40 8F FF FE FD FC           are you there (sent twice by the maker's program before everything else)
42 8F FF FE FD FC           who are you; answer 48 41 02 13 ...: type of device 41, protocol 13 (hex)
43 41 01 04 02 00           send the results of user 1 (05: of user 2, 06: of user 3); three kinds of answers follow:
4A 43 01                    it begins; 00 instead of 01: switched off
46 41 .. .. count .. user   count and user (byte 13) with the top bit set; so many results follow
82 80 and twelve bytes      one result
==========================  ==========================================================================================

Every byte of a result but the first has its top bit set; that of byte i stands in bit i - 1 of the first byte, as far
as that goes (our reading: the results published have it set for systolic values from 128 on, and for nothing else):
systolic [2], diastolic [3], pulse [4], mean [5], year - 2000 [6], month [7], day [9], hour [10], minute [11]. There is
no checksum: a result whose mean does not lie between its pressures, or whose date is none, is dropped and counted.

41 is thought to clear the memory, and 43 with other arguments to delete: never sent. Users 1 to 3 are buttons on the
device and say nothing of a person: who was measured is decided on the screen. A result is told once while the cuff
stays plugged in; the same result again, after the next plug, is known by its time and values.

Source: MarkMLl/contec08a (bytes and values as facts; GPL-3.0, no code). Not tried on hardware by us.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from devices.driver import About, Counters, HidUse, Output, Write
from devices.nomenclature import metrics
from devices.readings import BloodPressure, DeviceState, Event, Link, Sensor

REPORT_BYTES = 64
ARE_YOU_THERE, WHO_ARE_YOU = bytes.fromhex("408FFFFEFDFC"), bytes.fromhex("428FFFFEFDFC")
USERS = (1, 2, 3)
IDENTITY, CUFF = 0x48, 0x41
BEGINS, COUNT, RESULT = 0x4A, 0x46, 0x80
RESULT_BYTES = 14
MOST_RESULTS = 100
ANSWER_WITHIN_S = 2.0
POLL_S = 20.0
MOST_TOLD = 1000


def results_of(user: int) -> bytes:
    return bytes((0x43, CUFF, 0x01, 0x03 + user, 0x02, 0x00))


class Driver:
    about: ClassVar[About] = About(
        title_zh="康泰 08A 臂式血压计",
        title_en="Contec 08A blood-pressure cuff",
        models=("CONTEC08A",),
        metrics=metrics("blood_pressure", "systolic_mmhg", "diastolic_mmhg", "mean_mmhg", "pulse_bpm"),
        line=HidUse(input_bytes=REPORT_BYTES, output_bytes=REPORT_BYTES),
        usb_ids=("0483:5750",),
        source="MarkMLl/contec08a (facts); hardware/protocols/contec_08a.md",
        lost_after_s=3 * POLL_S,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ARE_YOU_THERE, WHO_ARE_YOU, *(results_of(user) for user in USERS))

    def __init__(self) -> None:
        self.counters = Counters()
        self._begin()

    def _begin(self) -> None:
        self._is_cuff = False
        self._waiting_s = 0.0
        self._users_left: list[int] = []
        self._expected = 0
        self._told: dict[BloodPressure, None] = {}
        self._said: tuple[Sensor, str | None] | None = None

    def open(self) -> Output:
        self._begin()
        return Output(writes=self._greeting())

    def close(self) -> Output:
        return Output()

    def tick(self, elapsed_s: float) -> Output:
        """Ask anew when an answer stays out, and for what is new from time to time."""
        self._waiting_s += elapsed_s
        busy = not self._is_cuff or bool(self._users_left)
        if self._waiting_s < (ANSWER_WITHIN_S if busy else POLL_S):
            return Output()
        self._waiting_s = 0.0
        self._users_left, self._expected = [], 0
        return Output(writes=self._greeting() if busy else self._next_user(list(USERS)))

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        """One report. Never raises for any bytes."""
        output = Output()
        if len(chunk) != REPORT_BYTES:
            self.counters.resyncs += 1
            self.counters.dropped_bytes += len(chunk)
        elif chunk[0] == IDENTITY:
            self._who(chunk, output)
        elif self._users_left and chunk[:2] == bytes((BEGINS, 0x43)):
            self._begins(chunk, output)
        elif self._users_left and chunk[:2] == bytes((COUNT, CUFF)):
            self.counters.frames += 1
            self._expected = min(chunk[4] & 0x7F, MOST_RESULTS)
            self._user_is_done(output)
        elif self._expected and chunk[0] & 0x80:
            self._result(chunk[:RESULT_BYTES], output)
        return output

    def _greeting(self) -> list[Write]:
        return [Write(ARE_YOU_THERE), Write(WHO_ARE_YOU, after_s=0.1)]

    def _next_user(self, users: list[int]) -> list[Write]:
        self._users_left = users
        self._waiting_s = 0.0
        return [Write(results_of(users[0]))] if users else []

    def _who(self, report: bytes, output: Output) -> None:
        self.counters.frames += 1
        self._is_cuff = report[1] == CUFF
        if self._is_cuff:
            output.writes += self._next_user(list(USERS))
        else:
            self._tell(Sensor.ERROR, "cuff_is_another", output.events)

    def _begins(self, report: bytes, output: Output) -> None:
        self.counters.frames += 1
        self._waiting_s = 0.0
        switched_on = report[2] == 0x01
        self._tell(Sensor.OK if switched_on else Sensor.OFF, None, output.events)
        if not switched_on:
            self._users_left = []

    def _result(self, report: bytes, output: Output) -> None:
        self._waiting_s = 0.0
        self._expected -= 1
        reading = reading_of(report)
        if reading is None:
            self.counters.bad_checksums += 1
        else:
            self.counters.frames += 1
            if reading not in self._told:
                self._told[reading] = None
                output.events.append(reading)
        while len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._user_is_done(output)

    def _user_is_done(self, output: Output) -> None:
        if not self._expected:
            output.writes += self._next_user(self._users_left[1:])

    def _tell(self, sensor: Sensor, fault: str | None, events: list[Event]) -> None:
        if self._said != (sensor, fault):
            self._said = (sensor, fault)
            events.append(DeviceState(Link.CONNECTED, sensor, fault=fault))


def reading_of(report: bytes) -> BloodPressure | None:
    """A result; None for one that contradicts itself."""
    tops = report[0]
    if len(report) < RESULT_BYTES or not all(byte & RESULT for byte in report[:RESULT_BYTES]):
        return None
    values = [byte & 0x7F | (tops >> i & 1) << 7 for i, byte in enumerate(report[1:8])]
    systolic, diastolic, pulse, mean, year, month = values[1:7]
    day, hour, minute = (byte & 0x7F for byte in report[9:12])
    try:
        shown_at = datetime(2000 + year, month, day, hour, minute)  # noqa: DTZ001  as the device shows it, without zone
    except ValueError:
        return None
    if not 0 < diastolic <= mean <= systolic or not pulse:
        return None
    return BloodPressure(systolic, diastolic, mean, pulse, device_said_at=shown_at.isoformat())
