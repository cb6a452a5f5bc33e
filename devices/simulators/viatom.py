"""Twins of Viatom's devices: asked, they answer with what gathered since; unasked they say nothing."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from devices import viatom, viatom_memory
from devices.driver import Counters
from devices.drivers import viatom_bp2 as bp2
from devices.drivers import viatom_er1 as er1
from devices.drivers import viatom_o2ring as ring
from devices.framing import Frame
from devices.readings import INVALID_COUNT
from devices.simulators.ecg_source import EcgSource
from devices.simulators.lead_source import LeadSource
from devices.viatom_ecg import INFO

KEPT_SAMPLES = 500
"""What a device keeps for a host that does not ask."""
REMEMBERED_SAMPLES = 60 * 250
SERIAL = b"2147000012"


def information() -> bytes:
    """The answer to E1 of a device with firmware 1.2.0.5."""
    return bytes((0x41, 5, 0, 2, 1)) + bytes(32) + bytes((len(SERIAL),)) + SERIAL + bytes(12)


class _Asked:
    """Frames of the host, one by one."""

    def __init__(self, head: int) -> None:
        self._framer = viatom.framer(head, Counters())
        self.connected = False

    @property
    def streaming(self) -> bool:
        return self.connected

    def power_on(self) -> None:
        self.connected = False

    def receive(self, chunk: bytes) -> bytes:
        self.connected = True
        frames = [piece.payload for piece in self._framer.feed(chunk) if isinstance(piece, Frame)]
        return b"".join(self.answer_to(frame) for frame in frames)

    def answer_to(self, frame: bytes) -> bytes:
        return self.answer(frame[1], viatom.data_of(frame))

    def answer(self, command: int, data: bytes) -> bytes:
        raise NotImplementedError


class _Electrodes:
    """One lead that gathers until it is fetched."""

    def __init__(self, source: EcgSource, sample_rate_hz: float, resolution_uv: float) -> None:
        self._source = LeadSource(source, sample_rate_hz)
        self._rate_hz, self._resolution_uv = sample_rate_hz, resolution_uv
        self._waiting = np.empty(0, np.int16)
        self._owed_samples = 0.0
        self.fetched = np.empty(0, np.int16)
        """What answers carried, in the driver's units."""

    def gather(self, elapsed_s: float) -> None:
        self._owed_samples += elapsed_s * self._rate_hz
        n = int(self._owed_samples)
        self._owed_samples -= n
        counts = np.round(self._source.next_uv(n)[:, 0] / self._resolution_uv).astype(np.int16)
        self._waiting = np.concatenate([self._waiting, counts])[-KEPT_SAMPLES:]

    def fetch(self, off: bool) -> bytes:
        """Count and samples as they stand in an answer."""
        counts, self._waiting = self._waiting, self._waiting[:0]
        said = np.full_like(counts, INVALID_COUNT) if off else counts
        self.fetched = np.concatenate([self.fetched, said])[-REMEMBERED_SAMPLES:]
        sent = np.full_like(counts, viatom.NO_SAMPLE) if off else counts
        return struct.pack("<H", len(sent)) + sent.astype("<i2").tobytes()

    def forget(self) -> None:
        self._waiting = self._waiting[:0]


class Er1Twin(_Asked):
    def __init__(self, source: EcgSource) -> None:
        super().__init__(viatom.HEAD)
        self.heart_rate_bpm = 71
        self.battery_percent = 88
        self.electrodes_on = True
        self._electrodes = _Electrodes(source, viatom.SAMPLE_RATE_HZ, viatom.RESOLUTION_UV)

    def advance(self, elapsed_s: float) -> bytes:
        if self.connected:
            self._electrodes.gather(elapsed_s)
        return b""

    def answer(self, command: int, data: bytes) -> bytes:
        if command == INFO:
            return viatom.frame_of(INFO, information(), kind=1)
        if command != er1.REAL_TIME:
            return b""
        off = not self.electrodes_on
        state = er1.ELECTRODES_OFF if off else 2
        parameters = struct.pack("<HBBIB11x", 0 if off else self.heart_rate_bpm, 0, self.battery_percent, 12, state)
        return viatom.frame_of(er1.REAL_TIME, parameters + self._electrodes.fetch(off), kind=1)

    def sent(self) -> npt.NDArray[np.int16]:
        """Everything that answers carried, in the driver's units, shape (n, 1)."""
        return self._electrodes.fetched.reshape(-1, 1)


@dataclass(slots=True)
class CuffResult:
    systolic_mmhg: int = 128
    diastolic_mmhg: int = 82
    mean_mmhg: int = 97
    pulse_bpm: int = 70
    code: int = 0


class Bp2Twin(_Asked):
    """Ready; ``inflate`` and ``finish`` a pressure, or touch its electrodes (``touched``) for an ECG."""

    READY, PRESSURE, PRESSURE_DONE, ECG = 3, 4, 5, 6

    def __init__(self, source: EcgSource) -> None:
        super().__init__(viatom.HEAD)
        self.heart_rate_bpm = 69
        self.battery_percent = 64
        self.electrodes_on = True
        self._state = self.READY
        self._result: CuffResult | None = None
        self._electrodes = _Electrodes(source, bp2.SAMPLE_RATE_HZ, bp2.RESOLUTION_UV)

    def inflate(self) -> None:
        self._state = self.PRESSURE

    def finish(self, result: CuffResult) -> None:
        self._state, self._result = self.PRESSURE_DONE, result

    def touched(self, on: bool) -> None:
        self._state = self.ECG if on else self.READY
        self._electrodes.forget()

    def advance(self, elapsed_s: float) -> bytes:
        if self.connected and self._state == self.ECG:
            self._electrodes.gather(elapsed_s)
        return b""

    def answer(self, command: int, data: bytes) -> bytes:
        if command == INFO:
            return viatom.frame_of(INFO, information(), kind=1)
        if command != bp2.REAL_TIME:
            return b""
        head = struct.pack("<BBBH4x", self._state, 0, self.battery_percent, 3900)
        return viatom.frame_of(bp2.REAL_TIME, head + self._wave(), kind=1)

    def sent(self) -> npt.NDArray[np.int16]:
        return self._electrodes.fetched.reshape(-1, 1)

    def _wave(self) -> bytes:
        if self._state == self.PRESSURE_DONE and self._result is not None:
            said = self._result
            numbers = (said.systolic_mmhg, said.diastolic_mmhg, said.mean_mmhg, said.pulse_bpm, said.code)
            return bytes((bp2.PRESSURE_RESULT,)) + bp2.RESULT.pack(1, 0, *numbers).ljust(20, b"\0") + b"\0\0"
        if self._state == self.ECG:
            off = not self.electrodes_on
            flags = bp2.ELECTRODES_OFF if off else 0
            ecg = bp2.ECG_DATA.pack(5, flags, 0 if off else self.heart_rate_bpm).ljust(20, b"\0")
            return bytes((bp2.ECG,)) + ecg + self._electrodes.fetch(off)
        cuff_mmhg_e2 = 9000 if self._state == self.PRESSURE else 0
        return b"\0" + struct.pack("<Bh", 0, cuff_mmhg_e2).ljust(20, b"\0") + b"\0\0"


@dataclass(slots=True)
class Worn:
    spo2_percent: int = 96
    pulse_bpm: int = 66
    perfusion_index_e1: int = 42


class O2RingTwin(_Asked):
    """On nobody's finger, until ``worn``; 0 and 0 while it searches. ``files``: name -> what it recorded by itself."""

    PART_BYTES = 512

    def __init__(self) -> None:
        super().__init__(viatom.RING_ASKS)
        self.worn: Worn | None = None
        self.battery_percent = 71
        self.shows: datetime | None = None
        """Its clock; None: it says none."""
        self.files: dict[str, bytes] = {}
        self.lost: set[str] = set()
        """Listed, but gone: the ring then gives the file that was open before."""
        self._open = b""

    def record(self, file: bytes) -> str:
        """A file as ``ring_file`` makes it; its name."""
        year, *more = struct.unpack_from("<HBBBBB", file, 2)
        name = f"{year:04}" + "".join(f"{part:02}" for part in more)
        self.files[name] = file
        return name

    def advance(self, elapsed_s: float) -> bytes:
        return b""

    def answer_to(self, frame: bytes) -> bytes:
        if frame[1] == viatom_memory.READ:
            at = int.from_bytes(frame[3:5], "little") * self.PART_BYTES
            return answered(self._open[at : at + self.PART_BYTES])
        return self.answer(frame[1], viatom.data_of(frame))

    def answer(self, command: int, data: bytes) -> bytes:
        if command == ring.INFO:
            said = {"Region": "CE", "Model": "1652", "SN": "2125000099", "SoftwareVer": "1.6.0", "CurBAT": "71%"}
            names = "".join(f"{name}," for name in self.files)
            clock = {} if self.shows is None else {"CurTIME": f"{self.shows:%Y-%m-%d,%H:%M:%S}"}
            return answered(json.dumps(said | clock | {"FileList": names}).encode().ljust(256, b"\0"))
        if command == viatom_memory.OPEN:
            name = data.rstrip(b"\0").decode("ascii", "replace")
            self._open = self.files.get(name, self._open) if name not in self.lost else self._open
            return answered(len(self._open).to_bytes(4, "little"))
        if command == viatom_memory.CLOSE:
            return answered(b"")
        if command != ring.REAL_TIME:
            return b""
        worn = self.worn
        spo2, pulse, perfusion = (
            (0, 0, 0) if worn is None else (worn.spo2_percent, worn.pulse_bpm, worn.perfusion_index_e1)
        )
        state = 0 if worn is None else ring.WORN
        return answered(ring.PARAMETERS.pack(spo2, pulse, 0, self.battery_percent, 0, 3, perfusion, state) + b"\0")


def ring_file(
    started_at: datetime, spo2_percent: list[int | None], pulse_bpm: list[int | None], interval_s: int = 4
) -> bytes:
    """A file of version 3; its summary says that there is none."""
    header = struct.pack("<BBHBBBBB", 3, 0, started_at.year, *started_at.timetuple()[1:6]) + struct.pack(
        "<IHH", 40 + 5 * len(spo2_percent), interval_s * len(spo2_percent), 0
    )
    records = b"".join(
        viatom_memory.RECORD.pack(0xFF if spo2 is None else spo2, 0xFFFF if pulse is None else pulse, 0, 0)
        for spo2, pulse in zip(spo2_percent, pulse_bpm, strict=True)
    )
    return header.ljust(25, b"\0") + b"\xff" + bytes(14) + records


def answered(data: bytes) -> bytes:
    """A ring's answer: 55, all well (00 and its complement), data."""
    return viatom.frame_of(0x00, data, head=viatom.RING_ANSWERS)
