"""What finger oximeters without a checksum share: when a number is believed, told and taken back. Pure.

Their frames carry signal bits, one pleth sample and the numbers, and nothing that would tell a spoiled frame from a
good one. So a number counts only after frames of 0.1 s agree on it; it is told at most once a second and taken back
once, when the finger leaves or nothing more comes. A pleth sample that is not to be trusted is ``INVALID_COUNT``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from devices.driver import About, Counters, Metric, Output
from devices.framing import Frame, MarkedFramer, Spoiled
from devices.nomenclature import metrics
from devices.readings import INVALID_COUNT, DeviceState, Event, Link, PulseOximetry, Samples, Sensor

SPO2, PULSE, PERFUSION = metrics("pulse_oximetry", "spo2_percent", "pulse_bpm", "perfusion_index_percent")

AGREEING_S = 0.1
"""Frames of that long say the same before it is believed; also what one chunk of pleth holds."""
BETWEEN_NUMBERS_S = 62 / 60
"""In the device's own frames; the fastest one allowed (62 instead of 60 a second) tells at most one number a second."""
LONGEST_FILL_S = 1.0
WITHDRAW_AFTER_S = 1.5


def pleth(sample_rate_hz: float) -> Metric:
    return Metric("pleth", mdc=None, loinc=None, ucum="1", sample_rate_hz=sample_rate_hz)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Where the device says "none" stands None."""

    spo2_percent: int | None
    pulse_bpm: int | None
    perfusion_index_e2: int | None = None


NO_NUMBERS = Numbers(None, None)


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame. ``pleth`` is None where the frame contradicts itself or no finger is in."""

    pleth: int | None
    numbers: Numbers
    sensor: Sensor


class FingerOximeter:
    """Moments in, events out. ``begin`` at each opening, ``tick`` with the driver's."""

    def __init__(self, sample_rate_hz: float, frame_bytes: int, counters: Counters) -> None:
        self._rate_hz = sample_rate_hz
        self._frame_bytes = frame_bytes
        self._counters = counters
        self._agreeing_frames = round(sample_rate_hz * AGREEING_S)
        self._between_numbers = round(sample_rate_hz * BETWEEN_NUMBERS_S)
        self._segment = -1
        self.begin()

    def begin(self) -> None:
        """A new segment; nothing is known of the finger."""
        self._segment += 1
        self._index = 0
        self._pleth: list[int] = []
        self._spoiled_bytes = 0
        self._silent_s = 0.0
        self._numbers: Numbers | None = None
        self._agreeing = 0
        self._since_number = self._between_numbers
        self._shown = False
        self._sensor_seen = Sensor.UNKNOWN
        self._sensor_times = 0
        self._sensor_told = Sensor.UNKNOWN
        self.fault: str | None = None
        """Told with the sensor, until ``begin``."""
        self.heard = False
        """Whether a frame came since ``begin``."""

    def spoiled(self, n_bytes: int) -> None:
        """Bytes between two frames that are none."""
        self._spoiled_bytes += n_bytes

    def take(self, moment: Moment, events: list[Event]) -> None:
        self._fill_gap(events)
        self._silent_s = 0.0
        self.heard = True
        self._append(INVALID_COUNT if moment.pleth is None else moment.pleth, events)
        self._watch_sensor(moment.sensor, events)
        self._agreeing = self._agreeing + 1 if moment.numbers == self._numbers else 1
        self._numbers = moment.numbers
        self._since_number += 1
        if self._agreeing < self._agreeing_frames:
            return
        if moment.numbers.spo2_percent is None:
            self.withdraw(events)
        elif self._since_number >= self._between_numbers:
            self._tell(moment.numbers, events)

    def tick(self, elapsed_s: float, events: list[Event]) -> None:
        self._silent_s += elapsed_s
        if self._silent_s >= WITHDRAW_AFTER_S:
            self.withdraw(events)

    def withdraw(self, events: list[Event]) -> None:
        """Take the number back that stands; nothing happens when none does."""
        if self._shown:
            self._shown = False
            self._since_number = self._between_numbers
            events.append(PulseOximetry(spo2_percent=None, pulse_bpm=None))

    def publish_pleth(self, events: list[Event]) -> None:
        """What is gathered, without waiting for a whole chunk: the line is silent."""
        if not self._pleth:
            return
        counts = np.array(self._pleth, np.int16).reshape(-1, 1)
        self._pleth = []
        events.append(Samples("pleth", ("pleth",), self._rate_hz, self._segment, self._index, counts, 1.0, "1"))
        self._index += len(counts)

    def _tell(self, numbers: Numbers, events: list[Event]) -> None:
        self._since_number = 0
        self._shown = True
        perfusion_e2 = numbers.perfusion_index_e2
        events.append(
            PulseOximetry(
                spo2_percent=numbers.spo2_percent,
                pulse_bpm=numbers.pulse_bpm,
                perfusion_index_percent=None if perfusion_e2 is None else perfusion_e2 / 100,
            )
        )

    def _fill_gap(self, events: list[Event]) -> None:
        """Frames lost between two good ones, counted from the bytes between them."""
        lost, self._spoiled_bytes = round(self._spoiled_bytes / self._frame_bytes), 0
        if not lost or not self.heard:
            return
        self._counters.gaps += 1
        self._agreeing = 0
        if lost > self._rate_hz * LONGEST_FILL_S:
            self.publish_pleth(events)
            self._index += lost
            return
        for _ in range(lost):
            self._append(INVALID_COUNT, events)

    def _watch_sensor(self, sensor: Sensor, events: list[Event]) -> None:
        self._sensor_times = self._sensor_times + 1 if sensor == self._sensor_seen else 1
        self._sensor_seen = sensor
        if self._sensor_times == self._agreeing_frames and sensor != self._sensor_told:
            self._sensor_told = sensor
            events.append(DeviceState(Link.CONNECTED, sensor, fault=self.fault))

    def _append(self, count: int, events: list[Event]) -> None:
        self._pleth.append(count)
        if len(self._pleth) == self._agreeing_frames:
            self.publish_pleth(events)


class OximeterDriver:
    """The body of a driver for a stream of marked frames without a checksum: a driver says what a frame means."""

    about: ClassVar[About]
    allowed_writes: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self, sample_rate_hz: float, sample_bytes: int, lengths: Mapping[int, int], top_bit: bool) -> None:
        """:param sample_bytes: of the frame that carries one sample

        ``lengths`` and ``top_bit`` as in ``MarkedFramer``.
        """
        self.counters = Counters()
        self._framer = MarkedFramer(lengths, first_has_top_bit=top_bit, counters=self.counters)
        self._oximeter = FingerOximeter(sample_rate_hz, sample_bytes, self.counters)
        self._quiet = False

    def take_frame(self, frame: bytes, output: Output) -> None:
        raise NotImplementedError

    def open(self) -> Output:
        self._framer.reset()
        self._oximeter.begin()
        self._quiet = False
        return Output()

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._oximeter.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        self._take(self._framer.feed(chunk), output)
        self._quiet = self._quiet and not chunk
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if self._quiet:
            self._take(self._framer.flush(), output)
            self._oximeter.publish_pleth(output.events)
        self._quiet = True
        self._oximeter.tick(elapsed_s, output.events)
        return output

    def _take(self, pieces: Iterable[Frame | Spoiled], output: Output) -> None:
        for piece in pieces:
            if isinstance(piece, Spoiled):
                self._oximeter.spoiled(piece.n_bytes)
            else:
                self.take_frame(piece.payload, output)


FIVE_BYTES = dict.fromkeys(range(0x80, 0x100), 5)


class FiveByteDriver(OximeterDriver):
    """The body of a driver for a free-running stream of 5-byte frames, marked by the top bit of their first byte.

    Two families look so and mean different things by the same bits: which one a port carries is a matter of the
    settings, never of guessing. A driver says its rate and what a frame means (``moment_of``); nothing is ever sent.
    """

    sample_rate_hz: float

    def __init__(self) -> None:
        super().__init__(self.sample_rate_hz, 5, FIVE_BYTES, top_bit=True)

    def moment_of(self, frame: bytes) -> Moment:
        raise NotImplementedError

    def take_frame(self, frame: bytes, output: Output) -> None:
        self._oximeter.take(self.moment_of(frame), output.events)
