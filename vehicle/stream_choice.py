"""Which of several devices a waveform is taken from: the one whose sensor touches somebody. Pure.

A van may have a 12-lead box that streams as soon as it has power, and a hand-held ECG beside it. Screens, recorder and
consultation show one ECG; it stays with a device as long as that sends values, and goes to another one when the first
had none (electrodes off, unplugged) for ``GIVEN_UP_AFTER_S``.
"""

from __future__ import annotations

import math

from devices.readings import INVALID_COUNT, Samples, Stamped

GIVEN_UP_AFTER_S = 2.0


class StreamChoice:
    """Fed with every chunk of a feed in its order; whoever is fed the same decides the same."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}
        self._valued_s: dict[str, float] = {}

    def takes(self, stamped: Stamped) -> bool:
        """Whether this chunk belongs to the device its stream is taken from; True for what is no waveform."""
        samples = stamped.event
        if not isinstance(samples, Samples):
            return True
        stream, now_s = samples.stream, stamped.received_mono_s
        holder = self._holders.get(stream)
        has_values = bool((samples.counts != INVALID_COUNT).any())
        if holder is not None and holder != stamped.device:
            given_up = now_s - self._valued_s.get(stream, -math.inf) > GIVEN_UP_AFTER_S
            if not (given_up and has_values):
                return False
        self._holders[stream] = stamped.device
        if has_values:
            self._valued_s[stream] = now_s
        return True
