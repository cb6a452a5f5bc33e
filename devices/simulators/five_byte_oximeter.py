"""What the twins of the free-running oximeters share: a finger, its pulse, frames as time passes."""

from __future__ import annotations

from dataclasses import dataclass

from devices.simulators.contec_cms50 import SEARCHING_S, Finger, pulse_wave


@dataclass(frozen=True, slots=True)
class Pulse:
    """One moment of a finger. ``early``: it was put in just now, and the device has no numbers yet."""

    finger: Finger
    pleth: int
    """0..127"""
    beep: bool
    early: bool


class FiveByteTwin:
    """See ``Twin``. ``frame`` says how a moment, or an empty probe (None), stands on the wire."""

    sample_rate_hz: float

    def __init__(self) -> None:
        self.finger: Finger | None = None
        self._finger_s = 0.0
        self._owed_frames = 0.0
        self._beat = 0.0

    def frame(self, pulse: Pulse | None) -> bytes:
        raise NotImplementedError

    @property
    def streaming(self) -> bool:
        return True

    def put_finger(self, finger: Finger | None) -> None:
        if self.finger is None or finger is None:
            self._finger_s = 0.0
        self.finger = finger

    def power_on(self) -> None:
        self._finger_s = self._owed_frames = 0.0

    def receive(self, chunk: bytes) -> bytes:
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        self._owed_frames += elapsed_s * self.sample_rate_hz
        n = int(self._owed_frames)
        self._owed_frames -= n
        return b"".join(self.frame(self._next_pulse()) for _ in range(n))

    def _next_pulse(self) -> Pulse | None:
        if self.finger is None:
            return None
        self._finger_s += 1 / self.sample_rate_hz
        before, self._beat = self._beat, (self._beat + self.finger.pulse_bpm / 60 / self.sample_rate_hz) % 1.0
        return Pulse(self.finger, pulse_wave(self._beat), self._beat < before, self._finger_s < SEARCHING_S)
