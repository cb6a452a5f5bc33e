"""What the HealthyPi boards share: frames of "OpenView", one sample each, and what is made of them. Pure.

``0A FA | length u16 LE | 02 | payload | 00 0B``; no checksum, no sequence number. A frame is told by its head and its
two last bytes; the bytes between two good frames say how many were lost, and a loss without a trace shows against the
clock. A frame that contradicts itself gives no sample: a gap.

The boards run free: nothing is ever sent to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from devices.driver import Counters, Output
from devices.framing import Spoiled
from devices.readings import INVALID_COUNT, Event, HeartRate, PulseOximetry, Temperature
from devices.sample_clock import SampleClock
from devices.sized_frames import SizedFramer
from devices.steady import AGREEING_S, LEADS_SETTLED_S, SteadyLeads, SteadyNumber
from devices.wave_chunks import WaveChunks

HEAD, DATA, TAIL = b"\x0a\xfa", 0x02, b"\x00\x0b"
OVERHEAD_BYTES = 7
CHANNELS = ("I",)
"""RA, LA and RL as the boards' electrode cable is coloured."""
LOST_S = 0.25
"""So much missing against the clock opens a new segment."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame. None wherever the board gives no value."""

    ecg_count: int | None
    """In ``resolution_uv``; None: an electrode is off, or the converter is at its end."""
    lead_off: bool | None
    """None: the frame has no word for it."""
    spo2_percent: int | None
    heart_rate_bpm: int | None
    temperature_ce2: int | None
    """Degrees Celsius x 100."""
    respiration_bpm: int | None


def framer(payload_bytes: int, counters: Counters) -> SizedFramer:
    length = payload_bytes + OVERHEAD_BYTES
    head = HEAD + payload_bytes.to_bytes(2, "little") + bytes((DATA,))
    return SizedFramer(head, lambda held: length, lambda frame: frame.endswith(TAIL), length, counters)


def frame_of(payload: bytes) -> bytes:
    return HEAD + len(payload).to_bytes(2, "little") + bytes((DATA,)) + payload + TAIL


class HealthyPi:
    """The body of both drivers; each says its rate, its resolution and what a payload means (``moment_of``)."""

    sample_rate_hz: ClassVar[float]
    resolution_uv: ClassVar[float]
    payload_bytes: ClassVar[int]
    allowed_writes: ClassVar[tuple[bytes, ...]] = ()

    def __init__(self) -> None:
        rate_hz = self.sample_rate_hz
        self.counters = Counters()
        self._framer = framer(self.payload_bytes, self.counters)
        self._wave = WaveChunks("ecg", CHANNELS, rate_hz, self.resolution_uv, "uV", self.counters)
        agreeing = round(rate_hz * AGREEING_S)
        self._spo2 = SteadyNumber[int](rate_hz, partial(PulseOximetry, pulse_bpm=None), agreeing)
        self._heart_rate = SteadyNumber[int](rate_hz, HeartRate, agreeing)
        self._temperature = SteadyNumber[int](rate_hz, _temperature, agreeing)
        self._numbers = (self._spo2, self._heart_rate, self._temperature)
        self._leads = SteadyLeads(round(rate_hz * LEADS_SETTLED_S))
        self._clock = self._new_clock()
        self._quiet = False

    def moment_of(self, payload: bytes) -> Moment | None:
        """None: bytes that cannot be what they should be."""
        raise NotImplementedError

    def open(self) -> Output:
        self._framer.reset()
        self._wave.begin()
        self._begin()
        return Output()

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        for number in self._numbers:
            number.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Spoiled):
                self._wave.lose(round(piece.n_bytes / (self.payload_bytes + OVERHEAD_BYTES)), output.events)
            else:
                self._take(self.moment_of(piece.payload[5:-2]), output.events)
        self._quiet = self._quiet and not chunk
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if self._quiet:
            self._wave.publish(output.events)
        self._quiet = True
        for number in self._numbers:
            number.tick(elapsed_s, output.events)
        if self._clock.lost(elapsed_s, self._wave.taken):
            self.counters.gaps += 1
            self._wave.publish(output.events)
            self._wave.begin()
            self._clock = self._new_clock()
        return output

    def _begin(self) -> None:
        for number in self._numbers:
            number.begin()
        self._leads.begin()
        self._clock = self._new_clock()
        self._quiet = False

    def _new_clock(self) -> SampleClock:
        return SampleClock(self.sample_rate_hz, LOST_S * self.sample_rate_hz)

    def _take(self, moment: Moment | None, events: list[Event]) -> None:
        if moment is None:
            self.counters.gaps += 1
            self._wave.append(None, events)
            return
        self._wave.append((INVALID_COUNT if moment.ecg_count is None else moment.ecg_count,), events)
        if moment.lead_off is not None:
            self._leads.look(CHANNELS if moment.lead_off else (), events)
        self._spo2.take(moment.spo2_percent, events)
        self._heart_rate.take(moment.heart_rate_bpm, events)
        self._temperature.take(moment.temperature_ce2, events)


def _temperature(temperature_ce2: int | None) -> Temperature:
    return Temperature(None if temperature_ce2 is None else temperature_ce2 / 100, final=False)
