"""Chunks of waveform on their way to the pages: merged while bits are scarce, packed once for all who look. Pure.

Each message costs some 93 bytes of SCTP, DTLS, UDP and IPv4 headers: 15 kbit/s at the devices' 20 chunks a second, 4
when four of them travel together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from devices.packed_samples import MOST_FORMS, SampleForm, form_of, pack
from devices.readings import Samples
from devices.wire import pack_samples

MERGED_S = 0.2


@dataclass(frozen=True, slots=True)
class LiveChunk:
    """One message for the pages, in both forms; ``packed`` is None where no form number is left for it."""

    device: str
    samples: Samples
    plain: bytes
    packed: bytes | None

    @property
    def seconds(self) -> float:
        return len(self.samples.counts) / self.samples.sample_rate_hz


class LiveChunks:
    """``merging``: send no chunk shorter than ``MERGED_S``."""

    def __init__(self, on_form: Callable[[int, SampleForm], None]) -> None:
        """:param on_form: called before the first chunk of a form, with its number for ever"""
        self.merging = False
        self._on_form = on_form
        self._forms: dict[SampleForm, int] = {}
        self._waiting: dict[str, Samples] = {}

    def add(self, device: str, samples: Samples) -> list[LiveChunk]:
        """What leaves now that ``samples`` came; a gap or a new segment is never inside a chunk."""
        waiting = self._waiting.pop(device, None)
        ready = []
        if waiting is not None and _continues(waiting, samples):
            samples = replace(waiting, counts=np.concatenate([waiting.counts, samples.counts]))
        elif waiting is not None:
            ready.append(self.chunk(device, waiting))
        if self.merging and len(samples.counts) < MERGED_S * samples.sample_rate_hz:
            self._waiting[device] = samples
        else:
            ready.append(self.chunk(device, samples))
        return ready

    def flush(self) -> list[LiveChunk]:
        """What still waits, e.g. because a device may say no more."""
        ready = [self.chunk(device, samples) for device, samples in self._waiting.items()]
        self._waiting.clear()
        return ready

    def forget(self) -> None:
        """What waits belongs to somebody else."""
        self._waiting.clear()

    def chunk(self, device: str, samples: Samples) -> LiveChunk:
        form = form_of(device, samples)
        number = self._forms.get(form)
        if number is None and len(self._forms) < MOST_FORMS:
            number = self._forms[form] = len(self._forms)
            self._on_form(number, form)
        packed = None if number is None else pack(number, samples)
        return LiveChunk(device, samples, pack_samples(device, samples), packed)


def _continues(before: Samples, samples: Samples) -> bool:
    return (
        form_of("", samples) == form_of("", before)
        and samples.segment == before.segment
        and samples.first_index == before.last_index + 1
    )
