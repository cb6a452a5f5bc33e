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
from devices.driver import About, Counters, Metric, Output, Write
from devices.framing import Frame, Spoiled
from devices.identity import Identity
from devices.nomenclature import metrics
from devices.readings import INVALID_COUNT, BloodPressure, Event, HeartRate, Sensor
from devices.sample_clock import SampleClock
from devices.steady import SteadyLeads, SteadyNumber
from devices.wave_chunks import WaveChunks

INFO, REAL_TIME = 0xE1, 0x08
ASK_INFO, ASK_REAL_TIME = viatom.frame_of(INFO), viatom.frame_of(REAL_TIME)
ASK_EACH_S = 0.5
STATE_BYTES, KIND_AT, DATA_AT, SAMPLES_AT = 9, 9, 10, 32
PRESSURE_RESULT, ECG = 1, 2
SAMPLE_RATE_HZ = 250.0
RESOLUTION_UV = 3.098
RESULT = struct.Struct("<BhHHHHB")
ECG_DATA = struct.Struct("<IIH")
ELECTRODES_OFF = 0x02
CAUSES = {1: "cuff too loose, or leaking", 2: "movement", 3: "no pulse wave"}
LOST_S = 0.5


class Driver:
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

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = viatom.framer(viatom.HEAD, self.counters)
        self._wave = WaveChunks(
            "ecg",
            viatom.CHANNELS,
            SAMPLE_RATE_HZ,
            RESOLUTION_UV,
            "uV",
            self.counters,
            round(SAMPLE_RATE_HZ * ASK_EACH_S),
        )
        self._heart_rate = SteadyNumber[int](1 / ASK_EACH_S, HeartRate, agreeing_frames=1)
        self._leads = SteadyLeads(settled_frames=1)
        self._shown: bytes | None = None
        """The result on the display, which was told; outlives a connection."""
        self._questions = viatom.Questions(ASK_REAL_TIME, ASK_EACH_S, self._framer, self.counters)
        self._begin()

    def open(self) -> Output:
        self._framer.reset()
        self._begin()
        return Output(writes=[Write(ASK_INFO), Write(ASK_REAL_TIME)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._heart_rate.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Spoiled):
                if self._in_ecg:
                    self._wave.lose((piece.n_bytes - viatom.OVERHEAD_BYTES - SAMPLES_AT) // 2, output.events)
            else:
                self._take(piece, output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._heart_rate.tick(elapsed_s, output.events)
        if self._in_ecg and self._clock.lost(elapsed_s, self._wave.taken):
            self.counters.gaps += 1
            self._begin_segment()
        output.writes += self._questions.tick(elapsed_s)
        return output

    def _begin(self) -> None:
        self.identity: Identity | None = None
        self._heart_rate.begin()
        self._leads.begin()
        self._questions.begin()
        self._in_ecg = False
        self._begin_segment()

    def _begin_segment(self) -> None:
        self._wave.begin()
        self._clock = SampleClock(SAMPLE_RATE_HZ, LOST_S * SAMPLE_RATE_HZ)

    def _take(self, frame: Frame, events: list[Event]) -> None:
        data = viatom.data_of(frame.payload)
        if frame.payload[1] == INFO:
            self.identity = viatom.identity_of(data)
        elif frame.payload[1] == REAL_TIME and len(data) >= SAMPLES_AT:
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
            if self._in_ecg or self._leads.sensor is Sensor.UNKNOWN:
                self._in_ecg = False
                self._leads.tell(events, sensor=Sensor.OFF, leads_off=())
                self._heart_rate.withdraw(events)
            return
        if not self._in_ecg:
            self._in_ecg = True
            self._begin_segment()
            self._leads.tell(events, fault=None, vendor_text=None)
        _, flags, heart_rate = ECG_DATA.unpack_from(data, DATA_AT)
        off = bool(flags & ELECTRODES_OFF)
        self._leads.look(viatom.CHANNELS if off else (), events)
        self._heart_rate.take(None if off else viatom.heart_rate_of(heart_rate), events)
        for row in viatom.counts_of(data[SAMPLES_AT:]):
            self._wave.append((INVALID_COUNT,) if off else row, events)
        self._wave.publish(events)
