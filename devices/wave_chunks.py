"""Sample by sample into ``Samples``: chunks of 50 ms or of one frame, an index without holes, gaps where lost. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.driver import Counters
from devices.readings import INVALID_COUNT, Event, Samples

CHUNK_S = 0.05
LONGEST_FILL_S = 0.5
"""A loss of up to that long is filled with ``INVALID_COUNT``; a longer one is a jump of ``first_index``."""

HIGHEST_COUNT = 32767


def count_or_none(value: float) -> int:
    """The nearest count; ``INVALID_COUNT`` for one that int16 does not hold, which is no signal of a body."""
    count = round(value)
    return count if -HIGHEST_COUNT <= count <= HIGHEST_COUNT else INVALID_COUNT


class WaveChunks:
    """Rows are counts of all channels at one sample, ``INVALID_COUNT`` where a channel has no value."""

    def __init__(
        self,
        stream: str,
        channels: tuple[str, ...],
        sample_rate_hz: float,
        resolution: float,
        unit: str,
        counters: Counters,
        per_chunk: int | None = None,
    ) -> None:
        """:param per_chunk: how many samples one frame of the device brings, where it brings more than one"""
        self._stream, self._channels, self._rate_hz = stream, channels, sample_rate_hz
        self._resolution, self._unit = resolution, unit
        self._counters = counters
        self._per_chunk = per_chunk or max(1, round(CHUNK_S * sample_rate_hz))
        self._nothing = (INVALID_COUNT,) * len(channels)
        self._segment = -1
        self.begin()

    @property
    def taken(self) -> int:
        """Samples of this segment so far, lost ones included."""
        return self._index + len(self._rows)

    def begin(self) -> None:
        """A new segment, from 0; what was not yet published is gone: publish before."""
        self._segment += 1
        self._index = 0
        self._rows: list[Sequence[int]] = []

    def append(self, row: Sequence[int] | None, events: list[Event]) -> None:
        """One sample; None: it came, and cannot be trusted."""
        self._rows.append(self._nothing if row is None else row)
        if len(self._rows) == self._per_chunk:
            self.publish(events)

    def lose(self, n: int, events: list[Event]) -> None:
        """``n`` samples did not come. Before the first one nothing is missing."""
        if n <= 0 or not self.taken:
            return
        self._counters.gaps += 1
        if n <= LONGEST_FILL_S * self._rate_hz:
            for _ in range(n):
                self.append(None, events)
            return
        self.publish(events)
        self._index += n

    def publish(self, events: list[Event]) -> None:
        """What is gathered, as one chunk."""
        if not self._rows:
            return
        counts = np.array(self._rows, np.int16).reshape(-1, len(self._channels))
        self._rows = []
        events.append(
            Samples(
                self._stream,
                self._channels,
                self._rate_hz,
                self._segment,
                self._index,
                counts,
                self._resolution,
                self._unit,
            )
        )
        self._index += len(counts)
