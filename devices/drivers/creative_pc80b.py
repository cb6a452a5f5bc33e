"""Creative PC-80B hand-held ECG monitor: one lead at 150 Hz, by Bluetooth (FFF0) or a Bluetooth serial port.

Frame: ``A5 | command | length | data | CRC-8/MAXIM over all before it``. From the device:

====  ==============================================================================================================
11    versions: firmware (4 or 6 bytes, or one), hardware, algorithm
55    "I am going to send": kind of device, b7 filter and b0 0 live / 1 a stored file, 12 bytes serial number. Waits
      for an answer
AA    live: number, 25 samples u16 LE, heart rate, battery in mV (low byte; high 4 bits in the next byte's b0-3),
      b4-6 gain of the display, b7 lead off. With the number alone: the end. Every 64th and the end are acknowledged
AA    of a stored file: number, a part of it; the number alone: the end. Each waits to be acknowledged, 0 taken, 1 again
DD    live, newer firmware: number u16 LE, gain, b6-7 input (1 built-in, 2 cable) b4-5 mode b0-3 stage, heart rate,
      b7 lead off b0-2 kind of data (0 none, 1 25 samples, 2 result), data
FF    heartbeat: battery 0..3
====  ==============================================================================================================

A sample is 12 bits, 2048 the middle, 1/330 mV = 3.03 uV each; 0 and 4095 are the ends of the converter. What the gain
field would change is not documented and ignored, as both public readers do. The person holds the device in two hands,
against a leg or to the chest, so the lead is named "ECG". Host: 11 asks for versions, FF keeps alive each second, 55
and AA acknowledge. 33 sets the clock: never sent. A stored file is sent when its owner says so on the device, which
keeps it; it is told whole (``StoredEcg``), and its end is acknowledged once it is durable here.

Source: viatomEcho/LepuBle, thewyrdguy/pc80b-bleak (layouts as facts). Not tried on hardware by us.
"""

from __future__ import annotations

import struct
from typing import ClassVar

from devices.crc8 import crc8_maxim
from devices.driver import About, Counters, GattUse, Metric, Output, SerialLine, Write
from devices.framing import Spoiled
from devices.identity import Identity
from devices.nomenclature import metrics
from devices.readings import INVALID_COUNT, Event, HeartRate, Sensor, StoredEcg
from devices.sized_frames import SizedFramer
from devices.steady import SteadyLeads, SteadyNumber
from devices.wave_chunks import WaveChunks

HEAD = b"\xa5"
LONGEST_FRAME = 4 + 255
VERSIONS, SESSION, CONTINUOUS, TRACK, HEARTBEAT = 0x11, 0x55, 0xAA, 0xDD, 0xFF
CHANNELS = ("ECG",)
SAMPLE_RATE_HZ = 150.0
RESOLUTION_UV = 1000 / 330
SAMPLES_PER_FRAME = 25
FRAMES_PER_S = SAMPLE_RATE_HZ / SAMPLES_PER_FRAME
MID_SCALE, FULL_SCALE = 2048, 4095
LEAD_OFF = 0x80
NO_HEART_RATE = (0, 255)
HEARTBEAT_S = 1.0
ACKNOWLEDGED_EACH = 64
BATTERY_PERCENT = (0, 33, 67, 100)
MODELS = {0x0A: "PC-80A", 0x0B: "PC-80B", 0x80: "PC-80B(UW)"}
CONTINUOUS_BYTES = 1 + 2 * SAMPLES_PER_FRAME + 3
SAMPLES, RESULT = 1, 2
LONGEST_FILE_BYTES = 65536
RECORD_HEADER_BYTES = 6
"""Of the file, in the shape of SCP-ECG: a checksum, then its length u32."""
STOPPED_STAGE = 5


def command(code: int, data: bytes) -> bytes:
    frame = HEAD + bytes((code, len(data))) + data
    return frame + bytes((crc8_maxim(frame),))


def framer(counters: Counters) -> SizedFramer:
    return SizedFramer(
        HEAD,
        lambda held: None if len(held) < 3 else held[2] + 4,
        lambda frame: crc8_maxim(frame[:-1]) == frame[-1],
        LONGEST_FRAME,
        counters,
    )


ASK_VERSIONS = command(VERSIONS, bytes(6))
ACCEPT = command(SESSION, b"\x00")
KEEP_ALIVE = command(HEARTBEAT, b"\x00")


def acknowledge(number: int, taken: bool = True) -> bytes:
    return command(CONTINUOUS, bytes((number, 0 if taken else 1)))


class Driver:
    about: ClassVar[About] = About(
        title_zh="力康 PC-80B 手持心电仪",
        title_en="Creative PC-80B hand-held ECG",
        models=("PC-80B", "PC-80B(UW)", "PC-80B-BLE"),
        metrics=(
            Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),
            *metrics("heart_rate", "heart_rate_bpm"),
        ),
        line=(
            SerialLine(115200),
            GattUse(
                service="FFF0",
                subscribe=("FFF1",),
                write="FFF2",
                names=("PC80B", "PC-80B"),
                shared_service=True,
                bond=False,
            ),
        ),
        source="viatomEcho/LepuBle, thewyrdguy/pc80b-bleak (facts); hardware/protocols/creative_pc80b.md",
        lost_after_s=3.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_VERSIONS, ACCEPT, KEEP_ALIVE, HEAD + bytes((CONTINUOUS, 2)))

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = framer(self.counters)
        self._wave = WaveChunks("ecg", CHANNELS, SAMPLE_RATE_HZ, RESOLUTION_UV, "uV", self.counters, SAMPLES_PER_FRAME)
        self._heart_rate = SteadyNumber[int](FRAMES_PER_S, HeartRate, agreeing_frames=1)
        self._leads = SteadyLeads(settled_frames=2)
        self._take_by_code = {
            VERSIONS: self._versions,
            SESSION: self._session,
            CONTINUOUS: self._continuous,
            TRACK: self._track,
            HEARTBEAT: self._heartbeat,
        }
        self._quiet_s = 0.0
        self._since_heartbeat_s = 0.0
        self._begin()

    def open(self) -> Output:
        self._framer.reset()
        self._wave.begin()
        self._begin()
        return Output(writes=[Write(ASK_VERSIONS)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._heart_rate.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if not isinstance(piece, Spoiled) and (take := self._take_by_code.get(piece.payload[1])) is not None:
                take(piece.payload[3:-1], output)
        self._quiet_s = 0.0 if chunk else self._quiet_s
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._heart_rate.tick(elapsed_s, output.events)
        self._quiet_s += elapsed_s
        if self._quiet_s >= HEARTBEAT_S:
            self._framer.give_up()
        self._since_heartbeat_s += elapsed_s
        if self._since_heartbeat_s >= HEARTBEAT_S:
            self._since_heartbeat_s = 0.0
            output.writes.append(Write(KEEP_ALIVE))
        return output

    def _begin(self) -> None:
        self.identity: Identity | None = None
        self._heart_rate.begin()
        self._leads.begin()
        self._number: int | None = None
        self._file: bytearray | None = None
        self._quiet_s = 0.0
        self._since_heartbeat_s = 0.0

    def _versions(self, data: bytes, output: Output) -> None:
        if len(data) >= 6:
            self.identity = Identity("Creative", "PC-80B", firmware=".".join(map(str, data[:4])))

    def _session(self, data: bytes, output: Output) -> None:
        if len(data) < 2:
            return
        serial = data[2:14].decode("ascii", "replace").strip("\x00 \ufffd")
        firmware = self.identity.firmware if self.identity else ""
        self.identity = Identity("Creative", MODELS.get(data[0], ""), serial, firmware)
        self._leads.tell(output.events, fault=None)
        self._wave.publish(output.events)
        self._wave.begin()
        self._number = None
        self._file = bytearray() if data[1] & 0x01 else None
        output.writes.append(Write(ACCEPT))

    def _continuous(self, data: bytes, output: Output) -> None:
        if not data:
            return
        if self._file is not None:
            self._stored(data[0], data[1:], self._file, output)
            return
        ended = len(data) == 1
        if ended or data[0] % ACKNOWLEDGED_EACH == 0:
            output.writes.append(Write(acknowledge(data[0])))
        if ended:
            self._stop(output.events)
        elif len(data) == CONTINUOUS_BYTES:
            self._samples(data[0], 256, data[1:51], data[51], bool(data[53] & LEAD_OFF), output.events)

    def _stored(self, number: int, part: bytes, file: bytearray, output: Output) -> None:
        """A part, or without one the end. One that comes again because our answer was lost is answered again."""
        follows = self._number is None or number == (self._number + 1) % 256
        if part and (number == self._number or follows) and len(file) <= LONGEST_FILE_BYTES:
            file += part if follows else b""
            self._number = number
            output.writes.append(Write(acknowledge(number)))
            return
        whole = not part and len(file) > RECORD_HEADER_BYTES and len(file) == int.from_bytes(file[2:6], "little")
        if whole:
            output.events.append(StoredEcg(bytes(file)))
        output.writes.append(Write(acknowledge(number, whole), after_stored=whole))
        self._leads.tell(output.events, fault=None if whole else "stored_ecg_incomplete")
        if not part:
            self._file = None

    def _track(self, data: bytes, output: Output) -> None:
        if len(data) < 6:
            return
        number, _, mode, heart_rate, flags = struct.unpack("<HBBBB", data[:6])
        if mode & 0x0F == STOPPED_STAGE or flags & 0x07 == RESULT:
            self._stop(output.events)
        elif flags & 0x07 == SAMPLES and len(data) == 6 + 2 * SAMPLES_PER_FRAME:
            self._samples(number, 1 << 16, data[6:], heart_rate, bool(flags & LEAD_OFF), output.events)

    def _heartbeat(self, data: bytes, output: Output) -> None:
        if len(data) == 1 and data[0] < len(BATTERY_PERCENT):
            self._leads.tell(output.events, battery_percent=BATTERY_PERCENT[data[0]])

    def _samples(
        self, number: int, numbers: int, raw: bytes, heart_rate: int, lead_off: bool, events: list[Event]
    ) -> None:
        if self._number is not None:
            self._wave.lose((number - self._number - 1) % numbers * SAMPLES_PER_FRAME, events)
        self._number = number
        for sample in struct.unpack(f"<{SAMPLES_PER_FRAME}H", raw):
            self._wave.append((INVALID_COUNT if lead_off else count_of(sample),), events)
        self._leads.look(CHANNELS if lead_off else (), events)
        self._heart_rate.take(None if lead_off or heart_rate in NO_HEART_RATE else heart_rate, events)

    def _stop(self, events: list[Event]) -> None:
        self._wave.publish(events)
        self._number = None
        self._leads.tell(events, sensor=Sensor.OFF, leads_off=())
        self._heart_rate.withdraw(events)


def count_of(sample: int) -> int:
    """12 bits of a sample in steps of ``RESOLUTION_UV``; ``INVALID_COUNT`` at either end of the converter."""
    value = sample & 0x0FFF
    return INVALID_COUNT if value in (0, FULL_SCALE) else value - MID_SCALE
