"""Sinocare (三诺) glucose and uric-acid meters over Bluetooth.

Models: the carbon series (names SN-..: 臻准2000, 优智 SC301, 智惠 GM501, UA Pro, UA Plus, UG Plus, EA-19, EA-23, ...),
安稳+Air, 金稳+Air, 金准+Air, UG-11; WL-1 over a classic Bluetooth serial port bound with rfcomm.

Frame: ``53 4E | length | machine u16 BE | command | data .. | sum``. The length counts what follows it; the sum runs
from the length to the last byte of data. Some meters end a frame with 0D 0A, and one of 21 bytes comes in two
notifications: bytes are a stream. Commands: 02 error, 03 a measurement begins, 04 result, 05 and 0E stored result, 06
time.

Result, 30 bytes (length 1B):

======  ============================================================================================================
6-7     record number u16 BE
8-13    year - 2000, month, day, hour, minute, second
18      01: a result of blood
20      0 glucose, 1 uric acid
21-22   value u16 BE; its decimals in the high nibble of 23
24      0 mmol/L, 1 mg/dL, 2 umol/L
27      10 the meter shows LO, 20 HI
======  ============================================================================================================

Older meters (machines 0004, 0012, ...): 04 with the date at 6-11 and tenths at 12-13 (19, where there is one: 0 mmol/L,
else mg/dL); 0E with the number at 6-7, the date at 8-13, tenths of mmol/L at 14-15.

No source names the GATT UUIDs, they differ by model: the first vendor service is used, and only a frame with a good sum
counts as one. The driver only listens: what the vendor's app answers (acknowledgements, clock) is not public, so the
clock is not set, and a result may come again: number and date tell that it is the same.

Source: "SDK设备返回格式.xlsx" and device list of snintelligent/Sinocare_Detection_SDK_Android (Apache-2.0): real frames
with decoded values; sinocare2017/wx_blue_iot_sdk (facts). Not tested on hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from devices.driver import About, Counters, GattUse, Output, SerialLine
from devices.framing import Frame
from devices.molar_mass import glucose_mmol_l, uric_acid_umol_l
from devices.nomenclature import metrics
from devices.readings import DeviceState, Event, Glucose, GlucoseRange, Link, Sensor, UricAcid
from devices.sized_frames import SizedFramer

HEAD = b"SN"
SHORTEST, LONGEST = 3 + 4, 3 + 255
ERROR, BEGINS, RESULT, HISTORY, HISTORY_AGAIN = 0x02, 0x03, 0x04, 0x05, 0x0E
STANDARD_BYTES = 30
BLOOD = 0x01
GLUCOSE, URIC_ACID = 0, 1
MMOL_L, MG_DL, UMOL_L = 0, 1, 2
SHOWN = {0x10: GlucoseRange.LOW, 0x20: GlucoseRange.HIGH}
ERROR_SHOWN = {1: GlucoseRange.HIGH, 2: GlucoseRange.LOW}
STANDARD_MACHINES = range(0x2000, 0x2100)
"""Glucose or uric acid: what an error of theirs is about is not said."""
REST_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Result:
    """One result as it stands in the frame. ``value`` in ``unit``; ``range`` says where it lies when none is shown."""

    analyte: int
    value: float
    unit: int
    range: GlucoseRange = GlucoseRange.IN_RANGE
    number: int | None = None
    shown_at: datetime | None = None


def sum_of(body: bytes) -> int:
    return sum(body) & 0xFF


def framer(counters: Counters) -> SizedFramer:
    return SizedFramer(
        HEAD,
        lambda held: None if len(held) < 3 else held[2] + 3 if held[2] + 3 >= SHORTEST else 0,
        lambda frame: sum_of(frame[2:-1]) == frame[-1],
        LONGEST,
        counters,
    )


def standard_result(frame: bytes) -> Result | None:
    """Of a frame of ``STANDARD_BYTES``; None: of something that is not blood, or an analyte we do not know."""
    if frame[18] != BLOOD or frame[19] or frame[20] not in (GLUCOSE, URIC_ACID):
        return None
    return Result(
        analyte=frame[20],
        value=int.from_bytes(frame[21:23], "big") / 10 ** (frame[23] >> 4),
        unit=frame[24],
        range=SHOWN.get(frame[27], GlucoseRange.IN_RANGE),
        number=int.from_bytes(frame[6:8], "big"),
        shown_at=date_of(frame[8:14]),
    )


def older_result(frame: bytes) -> Result | None:
    """Of a shorter frame; None: neither of the two layouts."""
    if frame[5] == RESULT and len(frame) in (19, 21):
        unit = MG_DL if len(frame) == 21 and frame[19] else MMOL_L
        return Result(GLUCOSE, int.from_bytes(frame[12:14], "big") / 10, unit, shown_at=date_of(frame[6:12]))
    if frame[5] == HISTORY_AGAIN and len(frame) == 19:
        number, tenths = int.from_bytes(frame[6:8], "big"), int.from_bytes(frame[14:16], "big")
        return Result(GLUCOSE, tenths / 10, MMOL_L, number=number, shown_at=date_of(frame[8:14]))
    return None


def date_of(said: bytes) -> datetime | None:
    year, month, day, hour, minute, second = said
    try:
        return datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001  a device's clock has no zone
    except ValueError:
        return None


class Driver:
    about: ClassVar[About] = About(
        title_zh="三诺血糖尿酸仪",
        title_en="Sinocare glucose and uric-acid meter",
        models=("SN-4Y", "SN-5J", "SN-5L", "SN-5R", "SN-6T", "SN-6U", "SN-6W", "SN-6X", "SN-7A", "安稳+Air", "WL-1"),
        metrics=(*metrics("glucose", "glucose_mmol_l"), *metrics("uric_acid", "uric_acid_umol_l")),
        line=(
            GattUse(
                service="",
                subscribe=(),
                names=("SN-", "BDE_WEIXIN_TTM", "Sinocare", "AW+AIR", "JW+AIR", "JZ+Air", "UG11"),
                bond=False,
            ),
            SerialLine(115200),
        ),
        source="vendor's list of real frames (Apache-2.0); hardware/protocols/sinocare_meter.md",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = framer(self.counters)
        self._state = DeviceState(Link.CONNECTED)
        self._silent_s = 0.0

    def open(self) -> Output:
        self._framer.reset()
        self._state = DeviceState(Link.CONNECTED)
        self._silent_s = 0.0
        return Output()

    def close(self) -> Output:
        self._framer.reset()
        return Output()

    def tick(self, elapsed_s: float) -> Output:
        self._silent_s += elapsed_s
        if self._silent_s >= REST_WITHIN_S:
            self._silent_s = 0.0
            self._framer.reset()
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        self._silent_s = 0.0
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Frame):
                self._take(piece.payload, output.events)
        return output

    def _take(self, frame: bytes, events: list[Event]) -> None:
        command = frame[5]
        if command in (RESULT, HISTORY, HISTORY_AGAIN):
            self._on_result(frame, events)
        elif command == BEGINS:
            self._tell(events, sensor=Sensor.OK, fault=None, vendor_text=None)
        elif command == ERROR and len(frame) > SHORTEST:
            self._on_error(int.from_bytes(frame[3:5], "big"), frame[6], events)

    def _on_result(self, frame: bytes, events: list[Event]) -> None:
        result = standard_result(frame) if len(frame) == STANDARD_BYTES else older_result(frame)
        if result is None:
            self._tell(events, fault="meter_result_unknown", vendor_text=frame.hex())
            return
        reading = reading_of(result)
        if reading is None:
            self._tell(events, sensor=Sensor.ERROR, fault="glucose_not_measured", vendor_text=frame.hex())
            return
        events.append(reading)
        self._tell(events, sensor=Sensor.OK, fault=None, vendor_text=None)

    def _on_error(self, machine: int, code: int, events: list[Event]) -> None:
        where = ERROR_SHOWN.get(code)
        if where is not None and machine not in STANDARD_MACHINES:
            events.append(Glucose(None, where))
            self._tell(events, sensor=Sensor.OK, fault=None, vendor_text=None)
            return
        text = {GlucoseRange.HIGH: "HI", GlucoseRange.LOW: "LO"}[where] if where else f"error {code}"
        self._tell(events, sensor=Sensor.ERROR, fault="glucose_not_measured", vendor_text=text)

    def _tell(self, events: list[Event], **changed: Any) -> None:
        state = replace(self._state, **changed)
        if state != self._state:
            self._state = state
            events.append(state)


def reading_of(result: Result) -> Glucose | UricAcid | None:
    """None: a value of 0, or a unit that the analyte is not measured in."""
    shown_at = result.shown_at.isoformat() if result.shown_at is not None else None
    number = amount_of(result) if result.range is GlucoseRange.IN_RANGE else None
    if number is None and result.range is GlucoseRange.IN_RANGE:
        return None
    if result.analyte == URIC_ACID:
        return UricAcid(number, result.range, result.number, device_said_at=shown_at)
    return Glucose(number, result.range, result.number, device_said_at=shown_at)


def amount_of(result: Result) -> float | None:
    """Glucose in mmol/L, uric acid in umol/L."""
    if not result.value:
        return None
    of_mg_dl = uric_acid_umol_l if result.analyte == URIC_ACID else glucose_mmol_l
    factor = {MMOL_L: 1000.0, UMOL_L: 1.0} if result.analyte == URIC_ACID else {MMOL_L: 1.0, UMOL_L: 0.001}
    if result.unit == MG_DL:
        return of_mg_dl(result.value)
    return round(result.value * factor[result.unit], 3) if result.unit in factor else None
