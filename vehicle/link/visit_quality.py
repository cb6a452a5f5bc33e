"""The link of a visit, summed up in entries: how good it was in that village, by which network, in which cells.

While a visit is open every sample and every statement of the modem counts; at its end, and each hour before, an entry
``link_quality/1`` is written. The place is a cell of about 100 m of a grid, not the track; nothing of a person and no
identity of the card or the modem is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from devices.clock import Clock
from devices.readings import Cellular
from sync.formats.link_figures import RATES, summary
from sync.formats.records import Draft, format_time
from telemedicine.link_sample import LinkSample, SampleSource, as_fields

ENTRY_EVERY_S = 3600.0
MOST_VALUES = 4000
"""Of one figure in one entry: a sample each second of an hour."""
MOST_CELLS = 32
GRID_DEG = 0.001
"""111 m from south to north, 79 to 105 m from west to east in China."""
_BEST_SOURCE: tuple[SampleSource, ...] = ("probe", "delivery", "session")
"""Rates count from the first of these that has any: a probe fills the link, a delivery sometimes, a session seldom."""


@dataclass(frozen=True, slots=True)
class OpenVisit:
    visit: str
    village: str


@dataclass(slots=True)
class _Gathered:
    visit: OpenVisit
    started_at: datetime
    started_mono_s: float
    values: dict[tuple[str, SampleSource | None], list[float]] = field(default_factory=dict)
    technologies: Counter[str] = field(default_factory=Counter)
    cells: dict[str, None] = field(default_factory=dict)
    samples: int = 0

    def add(self, name: str, source: SampleSource | None, value: float) -> None:
        values = self.values.setdefault((name, source), [])
        if len(values) < MOST_VALUES:
            values.append(value)


class VisitQuality:
    """
    :param visit: the visit that is open now
    :param place: latitude and longitude now, None without a fix
    :param write: takes the entry
    """

    def __init__(
        self,
        clock: Clock,
        visit: Callable[[], OpenVisit | None],
        place: Callable[[], tuple[float, float] | None],
        write: Callable[[Draft], None],
    ) -> None:
        self._clock = clock
        self._visit = visit
        self._place = place
        self._write = write
        self._gathered: _Gathered | None = None

    def on_sample(self, sample: LinkSample) -> None:
        gathered = self._now()
        if gathered is None:
            return
        gathered.samples += 1
        for name, value in as_fields(sample).items():
            if name != "silent_ms":
                gathered.add(name, sample.source, value)

    def on_cellular(self, cellular: Cellular) -> None:
        gathered = self._now()
        if gathered is None:
            return
        gathered.technologies[cellular.technology or "none"] += 1
        for cell in cellular.cells:
            if cell.identity is not None and len(gathered.cells) < MOST_CELLS:
                gathered.cells[cell.identity] = None
        strongest = cellular.cells[-1] if cellular.cells else None  # beside an LTE anchor it is NR that carries
        if strongest is not None and strongest.rsrp_dbm is not None:
            gathered.add("rsrp_dbm", None, strongest.rsrp_dbm)
        if strongest is not None and strongest.sinr_db is not None:
            gathered.add("sinr_db", None, strongest.sinr_db)

    def flush(self) -> None:
        """Write what was gathered; nothing when there is nothing to say."""
        gathered, self._gathered = self._gathered, None
        if gathered is not None and (gathered.values or gathered.technologies):
            self._write(self._entry(gathered))

    def _now(self) -> _Gathered | None:
        """What gathers; written first, and begun anew, when the visit is another one or an hour is full."""
        visit, gathered = self._visit(), self._gathered
        if gathered is not None and (
            gathered.visit != visit or self._clock.monotonic_s() - gathered.started_mono_s >= ENTRY_EVERY_S
        ):
            self.flush()
        if self._gathered is None and visit is not None:
            self._gathered = _Gathered(visit, self._clock.now(), self._clock.monotonic_s())
        return self._gathered

    def _entry(self, gathered: _Gathered) -> Draft:
        fields: dict[str, Any] = {
            "visit_id": gathered.visit.visit,
            "village": gathered.visit.village,
            "started_at": format_time(gathered.started_at),
            "duration_s": round(self._clock.monotonic_s() - gathered.started_mono_s),
            "samples": gathered.samples,
            "figures": _figures(gathered),
            "cells": list(gathered.cells),
        }
        if gathered.technologies:
            fields["technology"] = gathered.technologies.most_common(1)[0][0]
        place = self._place()
        if place is not None:
            fields |= {"lat_e3": round(place[0] / GRID_DEG), "lon_e3": round(place[1] / GRID_DEG)}
        return Draft("link_quality/1", fields, visit=gathered.visit.visit)


def _figures(gathered: _Gathered) -> dict[str, Any]:
    """``{name: {"min", "median", "p95"}}``; a rate comes from one source, which its "from" names."""
    figures: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in gathered.values):
        by_source = {source: values for (figure, source), values in gathered.values.items() if figure == name}
        if name in RATES:
            source = next(source for source in _BEST_SOURCE if source in by_source)
            figures[name] = summary(by_source[source]) | {"from": source}
        else:
            figures[name] = summary([value for values in by_source.values() for value in values])
    return figures
