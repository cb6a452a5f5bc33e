"""What stands still long enough to be believed: numbers of a stream, and which electrodes are off. Pure.

A protocol without a checksum now and then lets a spoiled frame through, so one frame is no measurement: a number is
told after frames of ``AGREEING_S`` said the same, at most once a second, and taken back once, when the device says that
there is none or falls silent. Where a checksum vouches for each frame, one frame is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from devices.readings import DeviceState, Event, Link, Sensor

AGREEING_S = 0.1
WITHDRAW_AFTER_S = 1.5
LEADS_SETTLED_S = 0.25

T = TypeVar("T")


class SteadyNumber(Generic[T]):
    """
    :param frames_per_s: how often the number comes
    :param reading: the event that tells it; with None the one that takes it back
    :param agreeing_frames: how many frames in a row have to say the same
    """

    def __init__(self, frames_per_s: float, reading: Callable[[T | None], Event], agreeing_frames: int) -> None:
        self._reading = reading
        self._agreeing_frames = agreeing_frames
        self._between_frames = round(frames_per_s)
        self.begin()

    def begin(self) -> None:
        """Nothing is known; what was told before is forgotten, not taken back."""
        self._seen: T | None = None
        self._times = 0
        self._since_told = self._between_frames
        self._shown = False
        self._silent_s = 0.0

    def take(self, number: T | None, events: list[Event]) -> None:
        """One frame; None: it says that there is no number."""
        self._silent_s = 0.0
        self._times = self._times + 1 if number == self._seen else 1
        self._seen = number
        self._since_told += 1
        if self._times < self._agreeing_frames:
            return
        if number is None:
            self.withdraw(events)
        elif self._since_told >= self._between_frames:
            self._since_told = 0
            self._shown = True
            events.append(self._reading(number))

    def tick(self, elapsed_s: float, events: list[Event]) -> None:
        self._silent_s += elapsed_s
        if self._silent_s >= WITHDRAW_AFTER_S:
            self.withdraw(events)

    def withdraw(self, events: list[Event]) -> None:
        """Take back the number that stands; nothing happens when none does."""
        if self._shown:
            self._shown = False
            self._since_told = self._between_frames
            events.append(self._reading(None))


class SteadyLeads:
    """What an ECG device says of itself, told on every change; an electrode only once it has stood long enough."""

    def __init__(self, settled_frames: int) -> None:
        self._settled_frames = max(1, settled_frames)
        self.begin()

    def begin(self) -> None:
        self._said = DeviceState(Link.CONNECTED)
        self._seen: tuple[str, ...] = ()
        self._times = 0

    @property
    def sensor(self) -> Sensor:
        return self._said.sensor

    def look(self, off: tuple[str, ...], events: list[Event]) -> None:
        """One frame: these leads are off."""
        self._times = self._times + 1 if off == self._seen else 1
        self._seen = off
        if self._times >= self._settled_frames:
            self.tell(events, sensor=Sensor.LEAD_OFF if off else Sensor.OK, leads_off=off)

    def tell(self, events: list[Event], **changed: Any) -> None:
        """Something else of ``DeviceState``: ``battery_percent``, ``fault``, ``vendor_text``."""
        state = replace(self._said, **changed)
        if state != self._said:
            self._said = state
            events.append(state)
