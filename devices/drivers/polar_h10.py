"""Polar H10 chest strap: its raw ECG (130 Hz) beside the heart rate of the Bluetooth SIG service.

The heart rate is that of ``devices.sig_heart_rate``. The ECG comes through Polar's PMD service: ``02 00 00 01 82 00 01
01 0E 00`` written to the control point (FB005C81) starts it (setting 0: 130 Hz, setting 1: 14 bit), ``03 00`` stops it;
the answer is ``F0``, the command, the kind of measurement, an error (0 done, 6 runs already). Data (FB005C82):

====  ==============================================================================================================
0     00: ECG
1     u64 LE: nanoseconds since 2000-01-01 by the strap's clock, **of the last sample** of the frame
9     00: type of frame
10    samples, i24 LE, each 1 uV
====  ==============================================================================================================

Samples are lost by the frame, and show in the times: what lies between the last sample of one frame and the first of
the next. Samples beyond +-32.7 mV are no value. The electrodes lie across the chest, so the lead is named "ECG". The
strap has no word for a loose electrode in the ECG; the heart rate has one (contact).

Source: polarofficial/polar-ble-sdk (documentation and test bytes), fsmeraldi/bleakheart. Not tried on hardware by us.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import ClassVar

from devices.driver import About, GattUse, Metric, Output, Write
from devices.nomenclature import metrics
from devices.readings import Sensor
from devices.sig import Truncated
from devices.sig_heart_rate import MEASUREMENT, HeartRateSensor
from devices.sig_profile import READ, Take
from devices.wave_chunks import WaveChunks, count_or_none

CONTROL = "FB005C81-02E7-F387-1CAD-8ACD2D8DF0C8"
DATA = "FB005C82-02E7-F387-1CAD-8ACD2D8DF0C8"
START = bytes.fromhex("02000001820001010E00")
STOP = bytes.fromhex("0300")
RESPONSE, ECG, FRAME_TYPE = 0xF0, 0x00, 0x00
DONE, RUNS_ALREADY = 0, 6
REFUSALS = {
    1: "not known",
    2: "no such measurement",
    3: "not supported",
    5: "wrong setting",
    10: "MTU too small",
    12: "not now",
    13: "in its charger",
}
CHANNELS = ("ECG",)
SAMPLE_RATE_HZ = 130.0
HEAD = struct.Struct("<BQB")
SAMPLE_BYTES = 3
NS_PER_S = 1_000_000_000
USUAL_SAMPLES = 73
"""A frame at the MTU the strap likes."""
RESTART_AFTER_S = 3.0
"""Without a frame for so long the strap is asked again."""


class Driver(HeartRateSensor):
    about: ClassVar[About] = About(
        title_zh="Polar H10 心率带（含单导联心电）",
        title_en="Polar H10 chest strap with ECG",
        models=("Polar H10",),
        metrics=(
            Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=SAMPLE_RATE_HZ),
            *metrics("heart_rate", "heart_rate_bpm"),
        ),
        line=GattUse(
            service="180D",
            subscribe=(CONTROL, DATA, MEASUREMENT),
            read=READ,
            bond=False,
            names=("Polar H10",),
            shared_service=True,
        ),
        source="polarofficial/polar-ble-sdk, fsmeraldi/bleakheart (facts); hardware/protocols/polar_h10.md",
        lost_after_s=10.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (START, STOP)

    def __init__(self) -> None:
        super().__init__()
        self._wave = WaveChunks("ecg", CHANNELS, SAMPLE_RATE_HZ, 1.0, "uV", self.counters, USUAL_SAMPLES)
        self._last_ns: int | None = None
        self._since_frame_s = 0.0

    def takes(self) -> Mapping[str, Take]:
        return {**super().takes(), CONTROL: self._on_control, DATA: self._on_data}

    def open(self) -> Output:
        output = super().open()
        self._wave.begin()
        self._last_ns = None
        self._since_frame_s = 0.0
        output.writes.append(Write(START, CONTROL))
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        return super().feed(chunk, channel or DATA)

    def tick(self, elapsed_s: float) -> Output:
        output = super().tick(elapsed_s)
        self._since_frame_s += elapsed_s
        if self._since_frame_s >= RESTART_AFTER_S:
            self._since_frame_s = 0.0
            output.writes.append(Write(START, CONTROL))
        return output

    def close(self) -> Output:
        output = super().close()
        output.writes.append(Write(STOP, CONTROL))
        return output

    def _on_control(self, value: bytes) -> Output:
        if len(value) < 4 or value[0] != RESPONSE or value[1] != START[0] or value[3] in (DONE, RUNS_ALREADY):
            return Output()
        cause = REFUSALS.get(value[3], f"code {value[3]}")
        return Output([self.now(sensor=Sensor.ERROR, fault="ecg_not_started", vendor_text=cause)])

    def _on_data(self, value: bytes) -> Output:
        last_ns, samples = decode_frame(value)
        output = Output()
        self._since_frame_s = 0.0
        if self._state.fault is not None:
            output.events.append(self.now(sensor=Sensor.OK, fault=None, vendor_text=None))
        self._count_lost(last_ns, len(samples), output)
        for sample in samples:
            self._wave.append((count_or_none(sample),), output.events)
        self._wave.publish(output.events)
        return output

    def _count_lost(self, last_ns: int, n: int, output: Output) -> None:
        """What lies between two frames by the strap's clock; a clock that runs backwards begins a segment."""
        before_ns, self._last_ns = self._last_ns, last_ns
        if before_ns is None:
            return
        lost = round((last_ns - before_ns) * SAMPLE_RATE_HZ / NS_PER_S) - n
        if not -n < lost < SAMPLE_RATE_HZ * 3600:
            self.counters.gaps += 1
            self._wave.begin()
        elif lost > 1:  # the strap's own rate is not exactly 130 Hz
            self._wave.lose(lost, output.events)


def decode_frame(value: bytes) -> tuple[int, list[int]]:
    """(time of the last sample in ns since 2000-01-01, samples in uV).

    :raises Truncated: another measurement or type of frame, no sample, or half a one.
    """
    if len(value) < HEAD.size + SAMPLE_BYTES or (len(value) - HEAD.size) % SAMPLE_BYTES:
        raise Truncated(f"{len(value)} bytes are no ECG frame")
    measurement, last_ns, frame_type = HEAD.unpack_from(value)
    if measurement != ECG or frame_type != FRAME_TYPE:
        raise Truncated(f"measurement {measurement}, type {frame_type} is not read")
    raw = value[HEAD.size :]
    samples = [
        int.from_bytes(raw[at : at + SAMPLE_BYTES], "little", signed=True) for at in range(0, len(raw), SAMPLE_BYTES)
    ]
    return last_ns, samples
