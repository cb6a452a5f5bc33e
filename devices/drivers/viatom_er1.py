"""Viatom / Wellue ER1 (patch), ER2 and DuoEK (hand-held): one-lead ECG at 125 Hz over Bluetooth.

Frames and samples are those of ``devices.viatom``. The host asks for what gathered (03, argument 7D) twice a second;
the answer is 20 bytes of parameters, a count u16 and samples i16:

====  ==============================================================================================================
0     heart rate, u16; 0 and FFFF: none
2     b0 R wave, b1 bad signal, b2 weak signal, b6-7 battery state
3     battery, percent
4     recorded seconds, u32, while b1 of byte 8 is set
8     b0-3 state: 0 idle (electrodes off), 1 preparing, 2 recording, 3 analysing, 4 stored, 5 shorter than 30 s,
      6 idle after six attempts, 7 electrodes off; b4-7 the state before
====  ==============================================================================================================

The answer numbers no samples: those of an answer that came spoiled are counted from its length; answers that never came
show against the clock and open a new segment. E1 asks who it is. Files (F1 to F4), clock (EC), vibration (04) and the
resets (E2, E3, EE) are never sent.

Source: viatomEcho/LepuBle (facts). Not tried on hardware by us. Not for the ER3, which sends compressed samples of up
to twelve leads.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from devices import viatom
from devices.driver import About, Counters, Metric, Output, Write
from devices.framing import Spoiled
from devices.identity import Identity
from devices.nomenclature import metrics
from devices.readings import Event, HeartRate
from devices.sample_clock import SampleClock
from devices.steady import SteadyLeads, SteadyNumber
from devices.wave_chunks import WaveChunks

INFO, REAL_TIME = 0xE1, 0x03
ASK_INFO = viatom.frame_of(INFO)
ASK_REAL_TIME = viatom.frame_of(REAL_TIME, b"\x7d")
ASK_EACH_S = 0.5
PARAMETER_BYTES = 20
IDLE, IDLE_AFTER_ATTEMPTS, ELECTRODES_OFF = 0, 6, 7
LOST_S = 0.5
SAMPLES_PER_CHUNK = 62


class Driver:
    about: ClassVar[About] = About(
        title_zh="乐普 ER1/ER2/DuoEK 单导联心电",
        title_en="Viatom ER1, ER2, DuoEK single-lead ECG",
        models=("ER1", "ER2", "DuoEK", "VisualBeat"),
        metrics=(
            Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=viatom.SAMPLE_RATE_HZ),
            *metrics("heart_rate", "heart_rate_bpm"),
        ),
        line=viatom.gatt_use("ER1", "ER2", "DuoEK", "VisualBeat"),
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
            viatom.SAMPLE_RATE_HZ,
            viatom.RESOLUTION_UV,
            "uV",
            self.counters,
            SAMPLES_PER_CHUNK,
        )
        self._heart_rate = SteadyNumber[int](1 / ASK_EACH_S, HeartRate, agreeing_frames=1)
        self._leads = SteadyLeads(settled_frames=1)
        self._questions = viatom.Questions(ASK_REAL_TIME, ASK_EACH_S, self._framer, self.counters)
        self.identity: Identity | None = None
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
                self._wave.lose((piece.n_bytes - viatom.OVERHEAD_BYTES - PARAMETER_BYTES - 2) // 2, output.events)
            elif piece.payload[1] == REAL_TIME:
                self._real_time(viatom.data_of(piece.payload), output.events)
            elif piece.payload[1] == INFO:
                self.identity = viatom.identity_of(viatom.data_of(piece.payload))
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._heart_rate.tick(elapsed_s, output.events)
        if self._clock.lost(elapsed_s, self._wave.taken):
            self.counters.gaps += 1
            self._begin_segment(output.events)
        output.writes += self._questions.tick(elapsed_s)
        return output

    def _begin(self) -> None:
        self.identity = None
        self._heart_rate.begin()
        self._leads.begin()
        self._questions.begin()
        self._begin_segment([])

    def _begin_segment(self, events: list[Event]) -> None:
        self._wave.publish(events)
        self._wave.begin()
        self._clock = SampleClock(viatom.SAMPLE_RATE_HZ, LOST_S * viatom.SAMPLE_RATE_HZ)

    def _real_time(self, data: bytes, events: list[Event]) -> None:
        if len(data) < PARAMETER_BYTES + 2:
            return
        heart_rate, battery, state = int.from_bytes(data[0:2], "little"), data[3], data[8] & 0x0F
        off = state in (IDLE, IDLE_AFTER_ATTEMPTS, ELECTRODES_OFF)
        self._leads.tell(events, battery_percent=viatom.percent_of(battery))
        self._leads.look(viatom.CHANNELS if off else (), events)
        self._heart_rate.take(None if off else viatom.heart_rate_of(heart_rate), events)
        (n,) = struct.unpack_from("<H", data, PARAMETER_BYTES)
        for row in viatom.counts_of(data[PARAMETER_BYTES + 2 :][: 2 * n]):
            self._wave.append(None if off else row, events)
        self._wave.publish(events)
