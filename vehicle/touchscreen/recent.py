"""The last minute of every waveform, for readers that join late."""

from __future__ import annotations

from collections import deque

import numpy as np

from devices.readings import INVALID_COUNT, Samples, Stamped
from vehicle.stream_choice import StreamChoice

KEPT_SECONDS = 60.0


class RecentSamples:
    """The last minute of every device's waveform, for readers that join late."""

    def __init__(self) -> None:
        self._chunks: dict[str, deque[Samples]] = {}
        self._last: dict[str, str] = {}
        self._choice = StreamChoice()

    def push(self, stamped: Stamped) -> None:
        samples = stamped.event
        if not isinstance(samples, Samples):
            return
        if self._choice.takes(stamped):
            self._last[samples.stream] = stamped.device
        chunks = self._chunks.setdefault(stamped.device, deque())
        if chunks and (chunks[-1].segment, chunks[-1].channels) != (samples.segment, samples.channels):
            chunks.clear()
        chunks.append(samples)
        while samples.last_index - chunks[0].last_index > KEPT_SECONDS * samples.sample_rate_hz:
            chunks.popleft()

    def take(self, device: str, segment: int, first: int, count: int) -> Samples | None:
        """Samples [first, first + count), INVALID_COUNT where nothing came; None: nothing is kept of that segment."""
        chunks = self._chunks.get(device)
        if not chunks or chunks[0].segment != segment:
            return None
        model = chunks[-1]
        counts = np.full((count, len(model.channels)), INVALID_COUNT, dtype=np.int16)
        for chunk in chunks:
            start, stop = max(first, chunk.first_index), min(first + count, chunk.last_index + 1)
            if start < stop:
                counts[start - first : stop - first] = chunk.counts[
                    start - chunk.first_index : stop - chunk.first_index
                ]
        return Samples(
            model.stream, model.channels, model.sample_rate_hz, segment, first, counts, model.resolution, model.unit
        )

    def newest(self, stream: str, seconds: float) -> tuple[str, Samples] | None:
        """The device that sends ``stream`` and its newest ``seconds``; None before the first sample."""
        device = self._last.get(stream)
        if device is None:
            return None
        oldest, model = self._chunks[device][0], self._chunks[device][-1]
        first = max(oldest.first_index, model.last_index + 1 - round(seconds * model.sample_rate_hz))
        kept = self.take(device, model.segment, first, model.last_index + 1 - first)
        return None if kept is None else (device, kept)
