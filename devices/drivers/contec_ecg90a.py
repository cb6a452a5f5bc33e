"""Contec ECG90A, 12-lead ECG, live over USB HID (0483:5750): reports of 64 bytes in, of 8 bytes out. Experimental.

The Contec 08A cuff has the same USB numbers: only the answer to 82 tells which one it is, and nothing but 82 and 91
(stop) is sent before. Host reports, filled with zeros: 82 what are you, 91 stop, 93 and A1 01 make ready, 90 start.

======  ==============================================================================================================
report  what it is
======  ==============================================================================================================
82 64   who it is, from byte 3 on in ASCII: "ECG90A"
E0      five scans of 12 bytes; 160 reports a second, 800 scans
FF      a state: 06 after 91 from a device that was not ready
======  ==============================================================================================================

A scan is four groups of three bytes: **low** nibble of byte 0 + byte 1 = first value, high nibble + byte 2 = second,
the other way round than with the 8000G. Eight 12-bit values II, III, V1..V6, 5 uV each around 2048. I = II - III is
worked out in whole counts, as for the files of this device (``devices.ecg_files``). A value at either end of the
converter is no measurement (our reading; live, the device has no word for an electrode that is off). No checksum and no
number on the wire: a report of another length is spoiled, lost reports show as scans missing against the clock.

Source: live module of jamilbn/ECG-Studio (facts). Not tried on hardware by us.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from devices.driver import About, Counters, HidUse, Metric, Output, Write
from devices.readings import INVALID_COUNT, DeviceState, Event, Link, Samples, Sensor
from devices.sample_clock import SampleClock

CHANNELS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLE_RATE_HZ, RESOLUTION_UV = 800.0, 5.0
MID_SCALE, FULL_SCALE = 2048, 4095
REPORT_BYTES, SCANS_PER_REPORT, SCAN_BYTES = 64, 5, 12
SCANS, IDENTITY, STATE = 0xE0, 0x82, 0xFF
NOT_READY = 0x06
NAME = b"ECG90A"

ASK, STOP = bytes((IDENTITY,)) + bytes(7), b"\x91" + bytes(7)
READY_1, READY_2, START = b"\x93" + bytes(7), b"\xa1\x01" + bytes(6), b"\x90" + bytes(7)
ASK_EVERY_S, PAUSE_S = 0.5, 0.02

REPORTS_PER_CHUNK = 8
"""40 samples, 50 ms."""
LEADS_SETTLED_CHUNKS = 5
LOSS_SAMPLES = 200


class Driver:
    about: ClassVar[About] = About(
        title_zh="康泰 ECG90A 十二导联心电",
        title_en="Contec ECG90A 12-lead ECG",
        models=("CONTEC ECG90A",),
        metrics=(Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),),
        line=HidUse(input_bytes=REPORT_BYTES, output_bytes=8),
        usb_ids=("0483:5750",),
        source="jamilbn/ECG-Studio live module (facts); hardware/protocols/contec_ecg90a.md",
        lost_after_s=1.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK, STOP, READY_1, READY_2, START)

    def __init__(self) -> None:
        self.counters = Counters()
        self._segment = -1
        self._begin()

    def _begin(self) -> None:
        self._segment += 1
        self._index = 0
        self._reports: list[bytes] = []
        self._clock = SampleClock(SAMPLE_RATE_HZ, LOSS_SAMPLES)
        self._identified = False
        self._asked_s = 0.0
        self._asked = 1
        self._fault: str | None = None
        self._leads_told: tuple[str, ...] | None = None
        self._leads_seen: tuple[str, ...] = ()
        self._leads_times = 0

    def open(self) -> Output:
        self._begin()
        return Output(writes=[Write(ASK)])

    def close(self) -> Output:
        return Output(writes=[Write(STOP)])

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        """One report. Never raises for any bytes."""
        output = Output()
        if len(chunk) != REPORT_BYTES:
            self.counters.resyncs += 1
            self.counters.dropped_bytes += len(chunk)
        elif chunk[0] == SCANS and self._identified:
            self._scans(chunk, output.events)
        elif chunk[0] == IDENTITY and not self._identified:
            self._who(chunk, output)
        elif chunk[0] == STATE and self._identified and chunk[1] == NOT_READY:
            self._tell_fault("ecg_device_not_ready", output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if not self._identified:
            self._ask_again(elapsed_s, output)
        elif self._clock.lost(elapsed_s, self._taken):
            self.counters.gaps += 1
            self._publish(output.events)
            self._segment += 1
            self._index = 0
            self._clock = SampleClock(SAMPLE_RATE_HZ, LOSS_SAMPLES)
        return output

    @property
    def _taken(self) -> int:
        return self._index + SCANS_PER_REPORT * len(self._reports)

    def _ask_again(self, elapsed_s: float, output: Output) -> None:
        """A device that still streams from before may not answer: it is stopped first, every other time."""
        self._asked_s += elapsed_s
        if self._asked_s >= ASK_EVERY_S:
            self._asked_s = 0.0
            self._asked += 1
            output.writes += [Write(STOP)] * (self._asked % 2 == 0) + [Write(ASK, after_s=PAUSE_S)]

    def _who(self, report: bytes, output: Output) -> None:
        self.counters.frames += 1
        if report[3:].startswith(NAME):
            self._identified = True
            output.writes += [Write(STOP)] + [Write(one, after_s=PAUSE_S) for one in (READY_1, READY_2, START)]
        else:
            self._tell_fault("ecg_device_is_another", output.events)

    def _tell_fault(self, fault: str, events: list[Event]) -> None:
        if fault != self._fault:
            self._fault = fault
            events.append(DeviceState(Link.CONNECTED, Sensor.ERROR, fault=fault))

    def _scans(self, report: bytes, events: list[Event]) -> None:
        self.counters.frames += 1
        self._reports.append(report)
        if len(self._reports) == REPORTS_PER_CHUNK:
            self._publish(events)

    def _publish(self, events: list[Event]) -> None:
        if not self._reports:
            return
        counts, at_rail = samples_of(self._reports)
        self._reports = []
        events.append(Samples("ecg", CHANNELS, SAMPLE_RATE_HZ, self._segment, self._index, counts, RESOLUTION_UV, "uV"))
        self._index += len(counts)
        self._look_at_leads(at_rail, events)

    def _look_at_leads(self, at_rail: npt.NDArray[np.bool_], events: list[Event]) -> None:
        """Which electrodes are off, told once a new picture has stood for LEADS_SETTLED_CHUNKS."""
        off = tuple(name for name, railed in zip(CHANNELS, at_rail, strict=True) if railed)
        self._leads_times = self._leads_times + 1 if off == self._leads_seen else 1
        self._leads_seen = off
        if self._leads_times >= LEADS_SETTLED_CHUNKS and (off != self._leads_told or self._fault is not None):
            self._leads_told, self._fault = off, None
            events.append(DeviceState(Link.CONNECTED, Sensor.LEAD_OFF if off else Sensor.OK, leads_off=off))


def samples_of(reports: list[bytes]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Data reports -> (counts (5 n, 8) of I, II, V1..V6, which of them stood at a rail all the time (8,))."""
    packed = np.frombuffer(b"".join(reports), np.uint8).reshape(-1, REPORT_BYTES)[:, 1:61].reshape(-1, 4, 3)
    groups = packed.astype(np.int16)
    first = (groups[:, :, 0] & 0x0F) << 8 | groups[:, :, 1]
    second = (groups[:, :, 0] >> 4) << 8 | groups[:, :, 2]
    values = np.stack([first, second], axis=2).reshape(-1, 8)
    railed = (values <= 0) | (values >= FULL_SCALE)
    railed = np.column_stack([railed[:, 0] | railed[:, 1], railed[:, 0], railed[:, 2:]])
    counts: npt.NDArray[np.int16] = values - np.int16(MID_SCALE)
    counts = np.column_stack([counts[:, 0] - counts[:, 1], counts[:, 0], counts[:, 2:]])
    counts[railed] = INVALID_COUNT
    return counts, np.logical_and.reduce(railed, axis=0)
