"""Contec 8000G, 12-lead ECG, live over its USB serial cable (CP210x, 230400 8N1, DTR and RTS set).

Start: ``90 00``, ``85 01``, ``90 05`` with 40 ms between them; stop: ``90 00``. The device answers with a stream:

======  =====  =====================================================================================================
first   bytes  what it is
======  =====  =====================================================================================================
A0      15     one scan: two mask bytes, 12 payload bytes. Payload byte i gets its top bit from mask[i // 7] bit i % 7.
               Four groups of three bytes: high nibble of byte 0 + byte 1 = first value, low nibble + byte 2 = second.
               Eight 12-bit values I, II, V1..V6, 2.5 uV each around 2048; 1000 scans a second.
B0      6      meaning not known, skipped
EE      2      a stream begins; scans before it are left over from an older one
======  =====  =====================================================================================================

Two scans are summed to one sample: 500 Hz, 1.25 uV. A value at either end of the converter (0 or 4095) is no
measurement: an electrode that is off floats there (our reading of the range; the device has no word for "lead off").
Never sent: 8B, 8C, 8D (they reconfigure the device). No sequence number and no checksum on the wire: lost scans are
counted from the bytes between two good ones; a longer loss shows as scans missing against the clock and opens a new
segment.

Source: live module of jamilbn/ECG-Studio (layout and constants as facts). Not tried on hardware by us.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from devices.driver import About, Counters, Metric, Output, SerialLine, Write
from devices.framing import Frame, MarkedFramer, Spoiled
from devices.readings import INVALID_COUNT, DeviceState, Event, Link, Samples, Sensor
from devices.sample_clock import SampleClock

CHANNELS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLE_RATE_HZ = 500.0
SCANS_PER_S = 1000
RESOLUTION_UV = 1.25
MID_SCALE, FULL_SCALE = 2048, 4095

SCAN, SCAN_BYTES = 0xA0, 15
STREAM_MARKER = 0xEE
FRAME_LENGTHS = {SCAN: SCAN_BYTES, 0xB0: 6, STREAM_MARKER: 2}
UNUSED_MASK_BITS = 0x60
"""Bits 5 and 6 of the second mask belong to no payload byte: set, they tell of a spoiled scan."""

HELLO, CHANNELS_ON, START, STOP = b"\x90\x00", b"\x85\x01", b"\x90\x05", b"\x90\x00"
PAUSE_S = 0.04

SCANS_PER_CHUNK = 50
"""25 samples, 50 ms."""
FILLED_SCANS = 500
"""A loss of up to 0.5 s is filled with INVALID_COUNT; a longer one is a jump of ``first_index``."""
LEADS_SETTLED_CHUNKS = 5
"""An electrode is called off, or on again, after it has looked so for 0.25 s."""
LOSS_SCANS = 250
"""Scans missing against the clock that open a new segment."""

_SHIFTS = np.arange(7, dtype=np.uint8)


class Driver:
    about: ClassVar[About] = About(
        title_zh="康泰 8000G 十二导联心电",
        title_en="Contec 8000G 12-lead ECG",
        models=("CONTEC 8000G",),
        metrics=(Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),),
        line=SerialLine(230400, dtr=True, rts=True),
        usb_ids=("10c4:ea60",),
        source="jamilbn/ECG-Studio live module (facts); hardware/protocols/contec_8000g.md",
        lost_after_s=2.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (HELLO, CHANNELS_ON, START, STOP)

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = MarkedFramer(FRAME_LENGTHS, first_has_top_bit=True, counters=self.counters)
        self._segment = -1
        self._quiet = False
        self._leads = _Leads()
        self._begin_segment()

    def open(self) -> Output:
        self._framer.reset()
        self._leads = _Leads()
        self._begin_segment()
        return Output(writes=[Write(HELLO), Write(CHANNELS_ON, after_s=PAUSE_S), Write(START, after_s=PAUSE_S)])

    def close(self) -> Output:
        self._framer.reset()
        return Output(writes=[Write(STOP)])

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            self._take(piece, output.events)
        self._quiet = self._quiet and not chunk
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if self._quiet:
            for frame in self._framer.flush():
                self._take(frame, output.events)
            self._publish(output.events, len(self._scans) // 2 * 2)
        self._quiet = True
        if self._clock.lost(elapsed_s, self._taken):
            self.counters.gaps += 1
            self._begin_segment()
        return output

    def _begin_segment(self) -> None:
        self._segment += 1
        self._index = 0
        self._taken = 0
        self._spoiled_bytes = 0
        self._scans: list[bytes | None] = []
        self._clock = SampleClock(SCANS_PER_S, LOSS_SCANS)
        self._quiet = False

    def _take(self, piece: Frame | Spoiled, events: list[Event]) -> None:
        if isinstance(piece, Spoiled):
            self._spoiled_bytes += piece.n_bytes
        elif piece.payload[0] == SCAN:
            self._lose(round(self._spoiled_bytes / SCAN_BYTES), events)
            self._spoiled_bytes = 0
            if piece.payload[2] & UNUSED_MASK_BITS:
                self._lose(1, events)
            else:
                self._append(piece.payload, events)
        elif piece.payload[0] == STREAM_MARKER and self._taken:
            self._publish(events, len(self._scans) // 2 * 2)
            self._begin_segment()

    def _append(self, scan: bytes | None, events: list[Event]) -> None:
        self._scans.append(scan)
        self._taken += 1
        if len(self._scans) == SCANS_PER_CHUNK:
            self._publish(events, SCANS_PER_CHUNK)

    def _lose(self, n_scans: int, events: list[Event]) -> None:
        if not n_scans or not self._taken:
            return
        self.counters.gaps += 1
        if n_scans <= FILLED_SCANS:
            for _ in range(n_scans):
                self._append(None, events)
            return
        self._publish(events, len(self._scans) // 2 * 2)
        self._taken += n_scans
        self._index, half = divmod(self._taken, 2)
        self._scans = [None] * half

    def _publish(self, events: list[Event], n_scans: int) -> None:
        if not n_scans:
            return
        scans, self._scans = self._scans[:n_scans], self._scans[n_scans:]
        counts, at_rail = samples_of(scans)
        samples = Samples("ecg", CHANNELS, SAMPLE_RATE_HZ, self._segment, self._index, counts, RESOLUTION_UV, "uV")
        self._index += len(counts)
        events.append(samples)
        if all(scan is not None for scan in scans):
            events.extend(self._leads.look(at_rail))


def values_of(scans: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Scans of shape (n, 15) -> the eight 12-bit values of each, shape (n, 8)."""
    masks = (scans[:, 1:3, None] >> _SHIFTS & 1).reshape(len(scans), 14)[:, :12]
    payload = (scans[:, 3:] | masks << 7).astype(np.int16).reshape(len(scans), 4, 3)
    first = (payload[:, :, 0] >> 4) << 8 | payload[:, :, 1]
    second = (payload[:, :, 0] & 0x0F) << 8 | payload[:, :, 2]
    values: npt.NDArray[np.int16] = np.stack([first, second], axis=2).reshape(len(scans), 8)
    return values


def samples_of(scans: list[bytes | None]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """An even number of scans, None where one was lost -> (counts (n/2, 8), which channels stood at a rail (8,))."""
    lost = np.array([scan is None for scan in scans])
    values = values_of(np.frombuffer(b"".join(scan or bytes(SCAN_BYTES) for scan in scans), np.uint8).reshape(-1, 15))
    at_rail = (values <= 0) | (values >= FULL_SCALE)
    invalid = (at_rail | lost[:, None]).reshape(-1, 2, 8).any(axis=1)
    counts: npt.NDArray[np.int16] = (values - MID_SCALE).reshape(-1, 2, 8).sum(axis=1, dtype=np.int16)
    counts[invalid] = INVALID_COUNT
    return counts, np.logical_and.reduce(at_rail, axis=0)


class _Leads:
    """Which electrodes are off, told once a new picture has stood for LEADS_SETTLED_CHUNKS."""

    def __init__(self) -> None:
        self._told: tuple[str, ...] | None = None
        self._seen: tuple[str, ...] = ()
        self._times = 0

    def look(self, at_rail: npt.NDArray[np.bool_]) -> list[Event]:
        off = tuple(name for name, railed in zip(CHANNELS, at_rail, strict=True) if railed)
        self._times = self._times + 1 if off == self._seen else 1
        self._seen = off
        if self._times < LEADS_SETTLED_CHUNKS or off == self._told:
            return []
        self._told = off
        return [DeviceState(Link.CONNECTED, Sensor.LEAD_OFF if off else Sensor.OK, leads_off=off)]
