"""Viatom / Wellue O2Ring and its relatives (Oxylink, SleepU, WearO2): oximeters worn on finger or wrist, by Bluetooth.

Frames as in ``devices.viatom``; the ring is asked with ``AA`` and answers with ``55 00 FF`` whatever was asked, so the
answer is told by its length. 14 asks who it is (JSON text), 17 for the numbers, once a second:

====  ==============================================================================================================
0     SpO2, u8; 0 and 255: none
1     pulse rate, u16; 0, 255 and 65535: none
3     steps, u32
7     battery, percent; 8 its state
9     movement; 10 perfusion index x 10, 0: none
11    b0: worn; b4-7: counts down after it was taken off
====  ==============================================================================================================

Files (03 to 05), settings (16) and the reset (18) are never sent. Source: viatomEcho/LepuBle (facts),
ecostech/viatom-ble (MIT). Not tried on hardware by us.
"""

from __future__ import annotations

import json
import struct
from typing import ClassVar

from devices import viatom
from devices.driver import About, Counters, Output, Write
from devices.framing import Frame
from devices.identity import Identity
from devices.nomenclature import metrics
from devices.readings import DeviceState, Event, Link, PulseOximetry, Sensor
from devices.sized_frames import SizedFramer
from devices.steady import SteadyNumber

INFO, REAL_TIME = 0x14, 0x17
ASK_INFO = viatom.frame_of(INFO, head=viatom.RING_ASKS)
ASK_REAL_TIME = viatom.frame_of(REAL_TIME, head=viatom.RING_ASKS)
ASK_EACH_S = 1.0
PARAMETERS = struct.Struct("<BHIBBBBB")
WORN = 0x01
NO_SPO2 = (0, 0xFF)
Numbers = tuple[int, int | None, float | None]


class Driver:
    about: ClassVar[About] = About(
        title_zh="乐普 O2Ring 指环血氧仪",
        title_en="Viatom O2Ring oximeter",
        models=("O2Ring", "Oxylink", "SleepU", "WearO2", "Checkme O2"),
        metrics=metrics("pulse_oximetry", "spo2_percent", "pulse_bpm", "perfusion_index_percent"),
        line=viatom.gatt_use("O2Ring", "Oxylink", "SleepU", "WearO2", "Checkme O2", "O2M"),
        source="viatomEcho/LepuBle (facts), ecostech/viatom-ble (MIT); hardware/protocols/viatom.md",
        lost_after_s=5.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_INFO, ASK_REAL_TIME)

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer: SizedFramer = viatom.framer(viatom.RING_ANSWERS, self.counters)
        self._numbers = SteadyNumber[Numbers](1 / ASK_EACH_S, _oximetry, agreeing_frames=1)
        self._questions = viatom.Questions(ASK_REAL_TIME, ASK_EACH_S, self._framer, self.counters)
        self._begin()

    def open(self) -> Output:
        self._framer.reset()
        self._begin()
        return Output(writes=[Write(ASK_INFO), Write(ASK_REAL_TIME, after_s=0.2)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._numbers.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Frame):
                self._take(viatom.data_of(piece.payload), output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._numbers.tick(elapsed_s, output.events)
        output.writes += self._questions.tick(elapsed_s)
        return output

    def _begin(self) -> None:
        self.identity: Identity | None = None
        self._numbers.begin()
        self._said = DeviceState(Link.CONNECTED)
        self._questions.begin()

    def _take(self, data: bytes, events: list[Event]) -> None:
        if data.startswith(b"{"):
            self.identity = identity_of(data)
        elif len(data) in (PARAMETERS.size, PARAMETERS.size + 1):
            self._parameters(data, events)

    def _parameters(self, data: bytes, events: list[Event]) -> None:
        spo2, pulse, _, battery, _, _, perfusion_e1, state = PARAMETERS.unpack_from(data)
        worn, measured = bool(state & WORN), spo2 not in NO_SPO2 and spo2 <= 100
        sensor = Sensor.OFF if not worn else Sensor.OK if measured else Sensor.SEARCHING
        said = DeviceState(Link.CONNECTED, sensor, battery_percent=viatom.percent_of(battery))
        if said != self._said:
            self._said = said
            events.append(said)
        pulse_bpm = pulse if pulse not in viatom.NO_HEART_RATE and pulse <= 254 else None
        perfusion = perfusion_e1 / 10 if 0 < perfusion_e1 < 0xFF else None
        self._numbers.take((spo2, pulse_bpm, perfusion) if worn and measured else None, events)


def _oximetry(numbers: Numbers | None) -> PulseOximetry:
    return PulseOximetry(None, None) if numbers is None else PulseOximetry(*numbers)


def identity_of(data: bytes) -> Identity | None:
    """Model, serial number and firmware out of the JSON text; None where it is none."""
    try:
        said = json.loads(data.rstrip(b"\x00"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    model, serial, firmware = (str(said.get(key, "")) for key in ("Model", "SN", "SoftwareVer"))
    return Identity("Viatom", model, serial, firmware)
