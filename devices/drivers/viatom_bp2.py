"""Viatom / Wellue BP2 (and BP2A without ECG): cuff with a one-lead ECG, over Bluetooth.

Frames are those of ``devices.viatom``. The host asks twice a second (08); the answer is 9 bytes of state, a kind of
data, 20 bytes of it, a count u16 and samples i16:

====  ==============================================================================================================
0     state: 3 ready, 4 measuring pressure, 5 pressure done, 6 ECG, 7 ECG done, 15 to 17 three pressures in a row
1-4   battery: state (3: low), percent, mV u16
9     kind: 0 inflating, 1 pressure result, 2 ECG, 3 ECG result
10    result: deflating, cuff i16, systolic, diastolic, mean, pulse (u16 each), code
10    ECG: seconds u32, flags u32 (b0 weak signal, b1 electrodes off), heart rate u16
====  ==============================================================================================================

The sensor of ``DeviceState`` is that of the ECG: off while nobody touches it.

A result stands on the display, and in every answer, until the cuff does something else: it is told once. Code 0 is a
measurement; 1 too loose or leaking, 2 movement, 3 no pulse wave, from 4 on a fault of the cuff. ECG samples are 250 Hz
and 3.098 uV as they come, as the maker's program notes (stored files: 125 Hz, never asked for); another public source
has 125 Hz and 2.467 uV, those of the ER1. Clock, settings, switching modes, files and resets are never sent.

Source: viatomEcho/LepuBle (facts). Not tried on hardware by us.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from devices import viatom
from devices.driver import About, Metric, Output
from devices.nomenclature import metrics
from devices.readings import BloodPressure, Event, Sensor
from devices.viatom_ecg import ASK_INFO, EcgDriver

REAL_TIME = 0x08
ASK_REAL_TIME = viatom.frame_of(REAL_TIME)
KIND_AT, DATA_AT, SAMPLES_AT = 9, 10, 32
PRESSURE_RESULT, ECG = 1, 2
SAMPLE_RATE_HZ = 250.0
RESOLUTION_UV = 3.098
RESULT = struct.Struct("<BhHHHHB")
ECG_DATA = struct.Struct("<IIH")
ELECTRODES_OFF = 0x02
CAUSES = {1: "cuff too loose, or leaking", 2: "movement", 3: "no pulse wave"}


class Driver(EcgDriver):
    about: ClassVar[About] = About(
        title_zh="乐普 BP2 血压心电一体机",
        title_en="Viatom BP2 cuff with ECG",
        models=("BP2", "BP2A (no ECG)"),
        metrics=(
            *metrics("blood_pressure", "systolic_mmhg", "diastolic_mmhg", "mean_mmhg", "pulse_bpm"),
            Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),
            *metrics("heart_rate", "heart_rate_bpm"),
        ),
        line=viatom.gatt_use("BP2"),
        source="viatomEcho/LepuBle (facts); hardware/protocols/viatom.md",
        lost_after_s=5.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_INFO, ASK_REAL_TIME)

    ask_real_time = ASK_REAL_TIME
    samples_at = SAMPLES_AT
    sample_rate_hz = SAMPLE_RATE_HZ
    resolution_uv = RESOLUTION_UV

    def __init__(self) -> None:
        super().__init__()
        self._shown: bytes | None = None
        """The result on the display, which was told; outlives a connection."""
        self.in_ecg = False

    def open(self) -> Output:
        output = super().open()
        self.in_ecg = False
        return output

    def take_real_time(self, data: bytes, events: list[Event]) -> None:
        self._leads.tell(events, battery_percent=viatom.percent_of(data[2]))
        self._pressure(data, events)
        self._ecg(data, events)

    def _pressure(self, data: bytes, events: list[Event]) -> None:
        result = data[DATA_AT : DATA_AT + RESULT.size] if data[KIND_AT] == PRESSURE_RESULT else None
        new = result is not None and result != self._shown
        self._shown = result
        if result is None or not new:
            return
        _, _, systolic, diastolic, mean, pulse, code = RESULT.unpack(result)
        if code or not systolic or not diastolic:
            cause = CAUSES.get(code, f"code {code}")
            self._leads.tell(
                events, sensor=Sensor.ERROR, leads_off=(), fault="blood_pressure_not_measured", vendor_text=cause
            )
            return
        events.append(BloodPressure(float(systolic), float(diastolic), float(mean) or None, float(pulse) or None))
        self._leads.tell(events, sensor=Sensor.OFF, leads_off=(), fault=None, vendor_text=None)

    def _ecg(self, data: bytes, events: list[Event]) -> None:
        if data[KIND_AT] != ECG:
            if self.in_ecg or self._leads.sensor is Sensor.UNKNOWN:
                self.in_ecg = False
                self._leads.tell(events, sensor=Sensor.OFF, leads_off=())
                self._heart_rate.withdraw(events)
            return
        if not self.in_ecg:
            self.in_ecg = True
            self.begin_segment()
            self._leads.tell(events, fault=None, vendor_text=None)
        _, flags, heart_rate = ECG_DATA.unpack_from(data, DATA_AT)
        self.take_ecg(bool(flags & ELECTRODES_OFF), heart_rate, data[SAMPLES_AT:], events)
