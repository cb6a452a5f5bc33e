"""Some leads of an ``EcgSource`` at the rate of another device, for twins with fewer leads."""

from __future__ import annotations

import numpy as np

from devices.simulators.ecg_source import LEADS, SAMPLE_RATE_HZ, EcgSource, Microvolts


class LeadSource:
    """
    :param leads: of ``ecg_source.LEADS``
    """

    def __init__(self, source: EcgSource, sample_rate_hz: float, leads: tuple[str, ...] = ("I",)) -> None:
        self._source = source
        self._step = SAMPLE_RATE_HZ / sample_rate_hz
        self._columns = [LEADS.index(lead) for lead in leads]
        self._held = source.next_uv(1)
        self._at = 0.0
        """Where the next sample lies, in source samples from the first one held."""

    def next_uv(self, n: int) -> Microvolts:
        """The next n samples, shape (n, leads), interpolated between the source's."""
        at = self._at + np.arange(n) * self._step
        needed = int(np.floor(at[-1])) + 2 - len(self._held) if n else 0
        if needed > 0:
            self._held = np.concatenate([self._held, self._source.next_uv(needed)])
        index = np.arange(len(self._held))
        taken = np.stack([np.interp(at, index, self._held[:, column]) for column in self._columns], axis=1)
        self._at += n * self._step
        whole = min(int(self._at), len(self._held) - 1)
        self._held, self._at = self._held[whole:], self._at - whole
        return taken
