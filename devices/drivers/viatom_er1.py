"""Viatom / Wellue ER1 (patch), ER2 and DuoEK (hand-held): one-lead ECG at 125 Hz over Bluetooth.

Frames and samples are those of ``devices.viatom``, gaps those of ``devices.viatom_ecg``. The host asks for what
gathered (03, argument 7D) twice a second; the answer is 20 bytes of parameters, a count u16 and samples i16:

====  ==============================================================================================================
0     heart rate, u16; 0 and FFFF: none
2     b0 R wave, b1 bad signal, b2 weak signal, b6-7 battery state
3     battery, percent
4     recorded seconds, u32, while b1 of byte 8 is set
8     b0-3 state: 0 idle (electrodes off), 1 preparing, 2 recording, 3 analysing, 4 stored, 5 shorter than 30 s,
      6 idle after six attempts, 7 electrodes off; b4-7 the state before
====  ==============================================================================================================

E1 asks who it is. Files (F1 to F4), clock (EC), vibration (04) and the
resets (E2, E3, EE) are never sent.

Source: viatomEcho/LepuBle (facts). Not tried on hardware by us. Not for the ER3, which sends compressed samples of up
to twelve leads.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from devices import viatom
from devices.driver import About, Metric
from devices.nomenclature import metrics
from devices.readings import Event
from devices.viatom_ecg import ASK_INFO, EcgDriver

REAL_TIME = 0x03
ASK_REAL_TIME = viatom.frame_of(REAL_TIME, b"\x7d")
COUNT_AT, SAMPLES_AT = 20, 22
IDLE, IDLE_AFTER_ATTEMPTS, ELECTRODES_OFF = 0, 6, 7


class Driver(EcgDriver):
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

    ask_real_time = ASK_REAL_TIME
    samples_at = SAMPLES_AT
    sample_rate_hz = viatom.SAMPLE_RATE_HZ
    resolution_uv = viatom.RESOLUTION_UV

    def take_real_time(self, data: bytes, events: list[Event]) -> None:
        heart_rate, battery, state = int.from_bytes(data[0:2], "little"), data[3], data[8] & 0x0F
        self._leads.tell(events, battery_percent=viatom.percent_of(battery))
        off = state in (IDLE, IDLE_AFTER_ATTEMPTS, ELECTRODES_OFF)
        (n,) = struct.unpack_from("<H", data, COUNT_AT)
        self.take_ecg(off, heart_rate, data[SAMPLES_AT:][: 2 * n], events)
