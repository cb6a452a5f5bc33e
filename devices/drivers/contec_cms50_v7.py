"""Contec CMS50D+ (firmware 4.6 and later, "V7"), CMS50E, CMS50F, CMS50EW: finger oximeters, 115200 8N1.

The cable of D+ and E holds a CP210x; F and EW speak the same over a Bluetooth serial port.

Frame: byte 0 is the type, below 0x80; every later byte has its top bit set. Byte 1 carries those top bits: its bit i is
the top bit of data byte i. No checksum. Real time (type 01, 9 bytes, 60 +-2 a second):

====  ==============================================================================================================
data  what it is
====  ==============================================================================================================
d0    b0-3 signal 0-8, more counts as 8; b4 searching too long, b5 SpO2 dropping, b6 pulse beep, b7 finger out
d1    b0-6 pleth 0-127, b7 searching for the pulse
d2    b0-3 bar graph, b4 perfusion index not given
d3    pulse rate, 255: none
d4    SpO2, 127: none
d5-6  perfusion index x 100, low byte first, 0 to 2200; 65535: none
====  ==============================================================================================================

Before the stream the device is asked for its model (A8): text in frames of type 02, six characters each, the last part
marked FF; and for what it recorded by itself (``devices.cms50_memory``), which is told once it was read. Host commands
are nine bytes, ``7D 81 CMD 80 80 80 80 80 80``. The stream stops about 30 s after the last keep-alive, so one is sent
every 5 s. AE erases the device's memory and is never sent.

Without a checksum a number is believed only after six agreeing frames (0.1 s); it is told at most once a second and
taken back once when the finger leaves. Byte 1 is not a validity code, as one public source has it.

Source: Contec, "Communication protocol of pulse oximeter V7.0" (2010), tables 1 to 7 (in albertcbraun/CMS50FW); A8 and
02 from wire logs of headrotor/contec_data. Not tried on hardware by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from devices.cms50_memory import MEMORY_FRAMES, QUESTIONS, STOP_STORED, Known, Memory, command
from devices.driver import About, Output, SerialLine, Write
from devices.finger_oximeter import PERFUSION, PULSE, SPO2, Moment, Numbers, OximeterDriver, pleth
from devices.identity import Identity
from devices.readings import DeviceState, Link, Sensor

FRAME_LENGTHS = {
    0x01: 9,  # real time
    0x02: 9,  # model text
    0x03: 9,
    0x04: 9,  # device id
    0x05: 9,  # user
    0x06: 4,
    0x07: 8,  # date of a stored record
    0x08: 8,  # its length
    0x09: 6,  # stored values
    0x0A: 4,  # number of segments
    0x0B: 4,  # answer to a command
    0x0C: 2,  # idle
    0x0D: 3,  # going away
    0x0E: 3,  # perfusion index supported
    0x0F: 8,  # stored values
    0x10: 3,  # number of users
    0x11: 9,  # notice
    0x12: 8,  # time of a stored record
    0x13: 9,
    0x14: 9,
    0x15: 9,  # storage ids
}
REAL_TIME, MODEL_TEXT, IDLE = 0x01, 0x02, 0x0C
LAST_PART, MOST_PARTS = 0xFF, 4
NO_PULSE, NO_SPO2, NO_PERFUSION = 0xFF, 0x7F, 0xFFFF
MOST_PERFUSION_E2 = 2200
STRONGEST_SIGNAL = 8


STOP, START, KEEP_ALIVE, MODEL = command(0xA2), command(0xA1), command(0xAF), command(0xA8)
KEEP_ALIVE_S = 5.0

SAMPLE_RATE_HZ = 60.0


class Driver(OximeterDriver):
    about: ClassVar[About] = About(
        title_zh="康泰 CMS50 指夹血氧仪",
        title_en="Contec CMS50 pulse oximeter",
        models=("CMS50D+ (firmware >= 4.6)", "CMS50E", "CMS50F", "CMS50EW"),
        metrics=(SPO2, PULSE, PERFUSION, pleth(SAMPLE_RATE_HZ)),
        line=SerialLine(115200),
        usb_ids=("10c4:ea60",),
        source="vendor protocol V7.0 and public wire logs; hardware/protocols/contec_cms50_v7.md",
        lost_after_s=2.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (STOP_STORED, STOP, MODEL, START, KEEP_ALIVE, *QUESTIONS)

    def __init__(self) -> None:
        super().__init__(SAMPLE_RATE_HZ, FRAME_LENGTHS[REAL_TIME], FRAME_LENGTHS, top_bit=False)
        self.known_recordings: Known = ()
        self._memory = Memory()
        self._begin()

    def _begin(self) -> None:
        self._since_keep_alive_s = 0.0
        self._restart_allowed = False
        self._model_parts: dict[int, str] = {}
        self._memory.end()
        self.identity: Identity | None = None

    def open(self) -> Output:
        output = super().open()
        self._begin()
        output.writes += [
            Write(STOP_STORED),
            Write(STOP, after_s=0.05),
            Write(MODEL, after_s=0.05),
            *self._memory.begin(self.known_recordings),
        ]
        return output

    def close(self) -> Output:
        output = super().close()
        output.writes.append(Write(STOP if self._memory.done else STOP_STORED))
        self._memory.end()
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = super().tick(elapsed_s)
        asking = not self._memory.done
        output.writes += self._memory.tick(elapsed_s)
        self._start_live(asking, output)
        self._since_keep_alive_s += elapsed_s
        if self._since_keep_alive_s >= KEEP_ALIVE_S:
            self._since_keep_alive_s = 0.0
            output.writes.append(Write(KEEP_ALIVE))
        return output

    def take_frame(self, frame: bytes, output: Output) -> None:
        if frame[0] == REAL_TIME:
            self._restart_allowed = True
            self._oximeter.take(RealTime.of(frame).moment, output.events)
        elif frame[0] == MODEL_TEXT:
            self._name(unpacked(frame))
        elif frame[0] == IDLE and self._restart_allowed and self._memory.done:
            self._restart_allowed = False
            output.writes.append(Write(START))
        elif frame[0] in MEMORY_FRAMES:
            asking = not self._memory.done
            told, writes = self._memory.take(frame[0], unpacked(frame))
            output.events += [] if told is None else [told]
            output.writes += writes
            self._start_live(asking, output)

    def _start_live(self, was_asking: bool, output: Output) -> None:
        """Once the memory was looked through. What of it could not be read is said."""
        if was_asking and self._memory.done:
            output.writes.append(Write(START))
            if self._memory.incomplete:
                self._oximeter.fault = "stored_oximetry_incomplete"
                output.events.append(DeviceState(Link.CONNECTED, fault=self._oximeter.fault))

    def _name(self, said: bytes) -> None:
        """A part of the model's name: which one, FF the last, and six characters."""
        part, text = said[0], said[1:].decode("ascii", errors="replace")
        if part == LAST_PART or part < MOST_PARTS:
            self._model_parts[part] = text
        if part == LAST_PART:
            model = "".join(text for _, text in sorted(self._model_parts.items())).strip()
            self.identity = Identity("Contec", model)


@dataclass(frozen=True, slots=True)
class RealTime:
    """One real-time frame. Where the device says "none", or a bit that is always clear is set, stands None."""

    signal: int | None
    """0 to 8."""
    bar: int
    moment: Moment

    @classmethod
    def of(cls, frame: bytes) -> RealTime:
        d0, d1, d2, pulse, spo2, low, high = unpacked(frame)
        consistent = not d2 & 0xE0
        finger_out, searching = bool(d0 & 0x80), bool(d1 & 0x80)
        perfusion = low | high << 8
        measured = consistent and not finger_out
        numbers = Numbers(
            spo2_percent=spo2 if measured and 0 < spo2 <= 100 else None,
            pulse_bpm=pulse if measured and 0 < pulse != NO_PULSE else None,
            perfusion_index_e2=perfusion if measured and perfusion <= MOST_PERFUSION_E2 and not d2 & 0x10 else None,
        )
        sensor = _sensor(consistent, finger_out, searching or spo2 == NO_SPO2)
        return cls(
            signal=min(d0 & 0x0F, STRONGEST_SIGNAL) if consistent else None,
            bar=d2 & 0x0F,
            moment=Moment(d1 & 0x7F if measured else None, numbers, sensor),
        )


def unpacked(frame: bytes) -> bytes:
    """The data bytes of a frame with their top bits put back."""
    return bytes(byte & 0x7F | (frame[1] >> i & 1) << 7 for i, byte in enumerate(frame[2:]))


def _sensor(consistent: bool, finger_out: bool, searching: bool) -> Sensor:
    if not consistent:
        return Sensor.UNKNOWN
    if finger_out:
        return Sensor.OFF
    return Sensor.SEARCHING if searching else Sensor.OK
