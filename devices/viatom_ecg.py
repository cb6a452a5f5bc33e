"""What Viatom's devices with an ECG of one lead share: asked twice a second, they answer with what gathered. Pure.

An answer numbers no samples: those of an answer that came spoiled are counted from its length; answers that never came
show against the clock and open a new segment. Frames: ``devices.viatom``.
"""

from __future__ import annotations

from typing import ClassVar

from devices import viatom
from devices.driver import About, Counters, Output, Write
from devices.framing import Spoiled
from devices.identity import Identity
from devices.readings import Event, HeartRate
from devices.sample_clock import SampleClock
from devices.steady import SteadyLeads, SteadyNumber
from devices.wave_chunks import WaveChunks

INFO = 0xE1
ASK_INFO = viatom.frame_of(INFO)
ASK_EACH_S = 0.5
LOST_S = 0.5


class EcgDriver:
    """The body of such a driver, which says how it asks and what an answer means (``take_real_time``).

    ``in_ecg`` is False while the device does something else: then no samples are missed.
    """

    about: ClassVar[About]
    allowed_writes: ClassVar[tuple[bytes, ...]]
    ask_real_time: ClassVar[bytes]
    samples_at: ClassVar[int]
    """Where in the data of an answer its samples begin."""
    sample_rate_hz: ClassVar[float]
    resolution_uv: ClassVar[float]
    in_ecg: bool
    identity: Identity | None

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = viatom.framer(viatom.HEAD, self.counters)
        self._wave = WaveChunks(
            "ecg",
            viatom.CHANNELS,
            self.sample_rate_hz,
            self.resolution_uv,
            "uV",
            self.counters,
            int(self.sample_rate_hz * ASK_EACH_S),
        )
        self._heart_rate = SteadyNumber[int](1 / ASK_EACH_S, HeartRate, agreeing_frames=1)
        self._leads = SteadyLeads(settled_frames=1)
        self._questions = viatom.Questions(self.ask_real_time, ASK_EACH_S, self._framer, self.counters)
        self._begin()

    def take_real_time(self, data: bytes, events: list[Event]) -> None:
        """``data`` is long enough to hold everything before the samples."""
        raise NotImplementedError

    def open(self) -> Output:
        self._framer.reset()
        self._begin()
        return Output(writes=[Write(ASK_INFO), Write(self.ask_real_time)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._heart_rate.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Spoiled):
                if self.in_ecg:
                    self._wave.lose((piece.n_bytes - viatom.OVERHEAD_BYTES - self.samples_at) // 2, output.events)
                continue
            command, data = piece.payload[1], viatom.data_of(piece.payload)
            if command == INFO:
                self.identity = viatom.identity_of(data)
            elif command == self.ask_real_time[1] and len(data) >= self.samples_at:
                self.take_real_time(data, output.events)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._heart_rate.tick(elapsed_s, output.events)
        if self.in_ecg and self._clock.lost(elapsed_s, self._wave.taken):
            self.counters.gaps += 1
            self.begin_segment()
        output.writes += self._questions.tick(elapsed_s)
        return output

    def begin_segment(self) -> None:
        self._wave.begin()
        self._clock = SampleClock(self.sample_rate_hz, LOST_S * self.sample_rate_hz)

    def take_ecg(self, off: bool, heart_rate: int, samples: bytes, events: list[Event]) -> None:
        """What an answer says of the ECG; with the electrodes off its samples stand as none."""
        self._leads.look(viatom.CHANNELS if off else (), events)
        self._heart_rate.take(None if off else viatom.heart_rate_of(heart_rate), events)
        for row in viatom.counts_of(samples):
            self._wave.append(None if off else row, events)
        self._wave.publish(events)

    def _begin(self) -> None:
        self.identity = None
        self._heart_rate.begin()
        self._leads.begin()
        self._questions.begin()
        self.in_ecg = True
        self.begin_segment()
