"""Contec finger oximeters with Bluetooth LE: CMS50D-BT and relatives, and EMAY SleepO2 with the same module.

Service FF12, write FF01, notify FF02. Names: SpO208.. (CMS50D-BT), SpO209.. and SpO210.. (CMS50K), SpO211.. to
SpO213.., SleepO2... Other makers use FF12 too, so the name decides.

Every frame ends with the low seven bits of the sum of all before it; that and its length vouch for it. The eighth bits
are left to the radio's own check.

=========  =========================================================================================================
EB 00      60 times a second, 6 bytes: byte 3 is the pleth, 0 to 127
EB 01 05   once a second, 8 bytes: byte 3 pulse, 4 SpO2 (0, 7F or FF: none); 5 and 6 are 7F 00
EB 7F      the stream has stopped
F1         model, eight characters
=========  =========================================================================================================

Host: 81 asks for the model, 9B 00 and 9B 01 start wave and numbers, 9A keeps them alive (every 5 s), 9B 7F stops. Never
sent: 9D 7F and A1 (erase), 83 (clock). Newer models that encrypt (F3, F4, 84) do not answer and count as silent.

No source knows a bit for "no finger": without a number the sensor is told as searching. The design note left open which
byte is the pulse; four public readers agree on byte 3. Source: nringelstein/CMS50D-BT, EMAYProtocol of Ground Effect
Software (MIT), pulseoxdl (facts), a CMS50E reader. Not tested on hardware.
"""

from __future__ import annotations

from typing import ClassVar

from devices.checked_oximeter import CheckedOximeter, Parameters
from devices.driver import About, Counters, GattUse, Metric, Output, Write
from devices.framing import Spoiled
from devices.identity import Identity
from devices.nomenclature import metrics
from devices.readings import DeviceState, Event, Link, Sensor
from devices.sized_frames import SizedFramer

LENGTHS = {b"\xeb\x00": 6, b"\xeb\x01": 8, b"\xeb\x7f": 3}
MODEL_HEAD, MODEL_BYTES = 0xF1, 10
LONGEST = 10
WAVE_BYTES = LENGTHS[b"\xeb\x00"]
NO_NUMBER = (0x00, 0x7F, 0xFF)
SAMPLE_RATE_HZ = 60.0
KEEP_ALIVE_S = 5.0
PAUSE_S = 0.5
REST_WITHIN_S = 1.0


def sum_of(body: bytes) -> int:
    return sum(body) & 0x7F


def frame_of(*body: int) -> bytes:
    return bytes(body) + bytes((sum_of(bytes(body)),))


ASK_MODEL, START_WAVE, START_NUMBERS = frame_of(0x81), frame_of(0x9B, 0x00), frame_of(0x9B, 0x01)
KEEP_ALIVE, STOP = frame_of(0x9A), frame_of(0x9B, 0x7F)


def framer(counters: Counters) -> SizedFramer:
    return SizedFramer(b"", _size_of, lambda frame: sum_of(frame[:-1]) == frame[-1], LONGEST, counters)


def _size_of(held: bytes) -> int | None:
    if not held:
        return None
    if held[0] == MODEL_HEAD:
        return MODEL_BYTES
    if held[0] != 0xEB:
        return 0
    return LENGTHS.get(held[:2], 0) if len(held) > 1 else None


class Driver:
    about: ClassVar[About] = About(
        title_zh="康泰蓝牙指夹血氧仪",
        title_en="Contec Bluetooth oximeter",
        models=("CMS50D-BT", "CMS50K", "CMS50S", "EMAY SleepO2"),
        metrics=(
            *metrics("pulse_oximetry", "spo2_percent", "pulse_bpm"),
            Metric("pleth", mdc=None, loinc=None, ucum="1", sample_rate_hz=SAMPLE_RATE_HZ),
        ),
        line=GattUse(
            service="FF12",
            subscribe=("FF02",),
            write="FF01",
            names=("SpO208", "SpO209", "SpO21", "SleepO2"),
            shared_service=True,
            bond=False,
        ),
        source="four public readers; hardware/protocols/contec_cms50d_bt.md",
        lost_after_s=3.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_MODEL, START_WAVE, START_NUMBERS, KEEP_ALIVE, STOP)

    def __init__(self) -> None:
        self.counters = Counters()
        self.identity: Identity | None = None
        self._framer = framer(self.counters)
        self._oximeter = CheckedOximeter(SAMPLE_RATE_HZ, 1, WAVE_BYTES, self.counters)
        self._begin()

    def _begin(self) -> None:
        self._framer.reset()
        self._oximeter.begin()
        self.identity = None
        self._sensor_told = Sensor.UNKNOWN
        self._silent_s = 0.0
        self._quiet = False
        self._since_keep_alive_s = 0.0

    def open(self) -> Output:
        self._begin()
        asked = (ASK_MODEL, KEEP_ALIVE, START_WAVE, START_NUMBERS)
        return Output(writes=[Write(command, after_s=PAUSE_S if i else 0.0) for i, command in enumerate(asked)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output(writes=[Write(STOP)])
        self._oximeter.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        self._silent_s = 0.0 if chunk else self._silent_s
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Spoiled):
                self._oximeter.spoiled(piece.n_bytes, output.events)
            else:
                self._take(piece.payload, output.events)
        self._quiet = self._quiet and not chunk
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if self._quiet:
            self._oximeter.publish_wave(output.events)
        self._quiet = True
        self._oximeter.tick(elapsed_s, output.events)
        self._silent_s += elapsed_s
        if self._silent_s >= REST_WITHIN_S:
            self._framer.reset()
        self._since_keep_alive_s += elapsed_s
        if self._since_keep_alive_s >= KEEP_ALIVE_S:
            self._since_keep_alive_s = 0.0
            output.writes.append(Write(KEEP_ALIVE))
        return output

    def _take(self, frame: bytes, events: list[Event]) -> None:
        if frame[0] == MODEL_HEAD:
            self.identity = Identity("Contec", frame[1:9].decode("ascii", "replace").strip("\x00 "))
        elif frame[1] == 0x00:
            self._oximeter.wave(frame[3:4], events)
        elif frame[1] == 0x01:
            said = parameters_of(frame[3], frame[4])
            if said.sensor is not self._sensor_told:
                self._sensor_told = said.sensor
                events.append(DeviceState(Link.CONNECTED, said.sensor))
            self._oximeter.parameters(said, events)


def parameters_of(pulse: int, spo2: int) -> Parameters:
    """What the two numbers say; a SpO2 that is none takes the pulse with it."""
    if spo2 in NO_NUMBER or spo2 > 100:
        return Parameters(None, None, None, Sensor.SEARCHING)
    return Parameters(spo2, None if pulse in (0x00, 0xFF) else pulse, None, Sensor.OK)
