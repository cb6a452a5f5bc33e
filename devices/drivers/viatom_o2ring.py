"""Viatom / Wellue O2Ring and its relatives (Oxylink, SleepU, WearO2): oximeters worn on finger or wrist, by Bluetooth.

Frames as in ``devices.viatom``; the ring is asked with ``AA`` and answers ``55 | status | ~status`` whatever was asked,
so one question waits for the other's answer. 14 asks who it is and what it has stored (JSON text), 17 for the numbers,
once a second:

====  ==============================================================================================================
0     SpO2, u8; 0, 127 and 255: none
1     pulse rate, u16; 0, 255 and 65535: none
3     steps, u32
7     battery, percent; 8 its state
9     movement; 10 perfusion index x 10, 0: none
11    b0: worn; b4-7: counts down after it was taken off
====  ==============================================================================================================

What it recorded by itself (03 to 05) is fetched once, when it is listed: ``devices.viatom_memory``; meanwhile, some
seconds a night, no numbers come. Settings and clock (16), resets (18 to 1A) are never sent. Source: viatomEcho/LepuBle
(facts), ecostech/viatom-ble (MIT); of the files see there. Not tried on hardware by us.
"""

from __future__ import annotations

import json
import struct
from datetime import datetime
from typing import Any, ClassVar

from devices import viatom, viatom_memory
from devices.driver import About, Counters, Output, Write
from devices.framing import Frame
from devices.identity import Identity
from devices.nomenclature import metrics
from devices.readings import DeviceClock, DeviceState, Event, Link, PulseOximetry, Sensor
from devices.sized_frames import SizedFramer
from devices.steady import SteadyNumber

INFO, REAL_TIME = 0x14, 0x17
ASK_INFO = viatom.frame_of(INFO, head=viatom.RING_ASKS)
ASK_REAL_TIME = viatom.frame_of(REAL_TIME, head=viatom.RING_ASKS)
ASK_EACH_S = 1.0
LIST_EACH_S = 30.0
"""For a recording that ended while the ring is connected."""
ANSWER_WITHIN_S = 2.0
LONGEST_FRAME = 8 + 8192
PARAMETERS = struct.Struct("<BHIBBBBB")
WORN = 0x01
NO_SPO2 = (0, 0x7F, 0xFF)
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
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_INFO, ASK_REAL_TIME, *viatom_memory.QUESTIONS)

    def __init__(self) -> None:
        self.counters = Counters()
        self.known_recordings: viatom_memory.Known = ()
        self._framer: SizedFramer = viatom.framer(viatom.RING_ANSWERS, self.counters, LONGEST_FRAME)
        self._numbers = SteadyNumber[Numbers](1 / ASK_EACH_S, _oximetry, agreeing_frames=1)
        self._memory = viatom_memory.Memory()
        self._asked = b""
        """The question that waits for its answer."""
        self._begin()

    def open(self) -> Output:
        self._framer.reset()
        self._begin()
        self._memory.begin(self.known_recordings)
        return Output(writes=[self._ask(ASK_INFO)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._numbers.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Frame):
                self._answer(piece.payload[1] == 0, viatom.data_of(piece.payload), output)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._numbers.tick(elapsed_s, output.events)
        self._waited_s += elapsed_s
        self._since_numbers_s += elapsed_s
        self._since_listed_s += elapsed_s
        if self._asked and self._waited_s >= ANSWER_WITHIN_S:
            self._framer.give_up()
            self._memory.unanswered()
            self._asked = b""
        if not self._asked:
            self._ask_next(output)
        return output

    def _begin(self) -> None:
        self.identity: Identity | None = None
        self._numbers.begin()
        self._said = DeviceState(Link.CONNECTED)
        self._asked = b""
        self._waited_s: float = 0.0
        self._since_listed_s: float = 0.0
        self._since_numbers_s: float = ASK_EACH_S

    def _ask(self, question: bytes) -> Write:
        self._asked, self._waited_s = question, 0.0
        return Write(question)

    def _ask_next(self, output: Output) -> None:
        """What is stored comes first, then the list when it is time for it, then the numbers."""
        wanted = self._memory.next_question()
        if wanted is not None:
            output.writes.append(self._ask(wanted))
        elif self._since_listed_s >= LIST_EACH_S:
            self._since_listed_s = 0.0
            output.writes.append(self._ask(ASK_INFO))
        elif self._since_numbers_s >= ASK_EACH_S:
            self._since_numbers_s = 0.0
            output.writes.append(self._ask(ASK_REAL_TIME))

    def _answer(self, well: bool, data: bytes, output: Output) -> None:
        if self._asked.startswith(viatom_memory.QUESTIONS):
            self._stored(data if well else b"", output)
            self._ask_next(output)
        elif well and data.startswith(b"{"):
            self._asked = b""
            told = told_in(data)
            if self.identity is None and (clock := clock_of(told)) is not None:
                output.events.append(clock)
            self.identity = identity_of(told)
            self._memory.listed(viatom_memory.files_of(told))
            self._ask_next(output)
        elif well and len(data) in (PARAMETERS.size, PARAMETERS.size + 1):
            self._asked = b""
            self._parameters(data, output.events)

    def _stored(self, data: bytes, output: Output) -> None:
        """The answer to a question for a file."""
        self._asked = b""
        told = self._memory.answered(data)
        output.events += [] if told is None else [told]
        if self._memory.incomplete and self._said.fault is None:
            self._tell(self._said.sensor, self._said.battery_percent, output.events)

    def _parameters(self, data: bytes, events: list[Event]) -> None:
        spo2, pulse, _, battery, _, _, perfusion_e1, state = PARAMETERS.unpack_from(data)
        worn, measured = bool(state & WORN), spo2 not in NO_SPO2 and spo2 <= 100
        sensor = Sensor.OFF if not worn else Sensor.OK if measured else Sensor.SEARCHING
        self._tell(sensor, viatom.percent_of(battery), events)
        pulse_bpm = pulse if pulse not in viatom.NO_HEART_RATE and pulse <= 254 else None
        perfusion = perfusion_e1 / 10 if 0 < perfusion_e1 < 0xFF else None
        self._numbers.take((spo2, pulse_bpm, perfusion) if worn and measured else None, events)

    def _tell(self, sensor: Sensor, battery_percent: int | None, events: list[Event]) -> None:
        fault = "stored_oximetry_incomplete" if self._memory.incomplete else None
        said = DeviceState(Link.CONNECTED, sensor, battery_percent=battery_percent, fault=fault)
        if said != self._said:
            self._said = said
            events.append(said)


def _oximetry(numbers: Numbers | None) -> PulseOximetry:
    return PulseOximetry(None, None) if numbers is None else PulseOximetry(*numbers)


def told_in(data: bytes) -> dict[str, Any]:
    """The answer to 14 as it was told; empty where it is no JSON object."""
    try:
        said = json.loads(data.rstrip(b"\0 \r\n"))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def identity_of(told: dict[str, Any]) -> Identity | None:
    """Model, serial number and firmware, as far as they were told; None: none of them was."""
    if not told.keys() & {"Model", "SN", "SoftwareVer"}:
        return None
    model, serial, firmware = (str(told.get(key, "")) for key in ("Model", "SN", "SoftwareVer"))
    return Identity("Viatom", model, serial, firmware)


def clock_of(told: dict[str, Any]) -> DeviceClock | None:
    """``CurTIME``, "2026-11-22,20:11:05"; None where there is none."""
    try:
        shown = datetime.strptime(str(told.get("CurTIME")), "%Y-%m-%d,%H:%M:%S")  # noqa: DTZ007  as the ring says it
    except ValueError:
        return None
    return DeviceClock(shown.isoformat())
