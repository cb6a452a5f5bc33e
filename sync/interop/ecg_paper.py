"""Where everything of an ECG stands on A4 landscape, in millimetres from the upper left corner. Pure.

25 mm/s and 10 mm/mV: a minor square is 1 mm (40 ms, 0.1 mV), a major one 5 mm (200 ms, 0.5 mV); left of each row the
calibration pulse of 1 mV and 200 ms (the usual scale: AHA/ACC/HRS recommendations for the ECG, part I, 2007). The trace
is drawn as it was recorded, every sample; each row is moved so that its median lies on the row's line.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import numpy.typing as npt

from sync.interop.ecg_leads import Ecg

PAGE_WIDTH_MM, PAGE_HEIGHT_MM = 297.0, 210.0
MM_PER_S, MM_PER_MV = 25.0, 10.0
GRID_LEFT_MM, GRID_TOP_MM, GRID_WIDTH_MM, GRID_HEIGHT_MM = 16.0, 33.0, 265.0, 160.0
TRACE_LEFT_MM = GRID_LEFT_MM + 10.0
"""Right of the calibration pulse."""
PAGE_S = 10.0
REST_S = 0.2
"""What is left over up to here is drawn on the same page: there is paper for it."""
MOST_PAGES = 6

Layout = Literal["3x4+1", "6x2", "12x1", "rhythm"]
LAYOUTS: tuple[Layout, ...] = ("3x4+1", "6x2", "12x1", "rhythm")
COLUMNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "3x4+1": (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6")),
    "6x2": (("I", "II", "III", "aVR", "aVL", "aVF"), ("V1", "V2", "V3", "V4", "V5", "V6")),
    "12x1": (("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"),),
}
RHYTHM_LEADS = ("II", "V1", "V5")
_ROWS_MM: dict[str, tuple[float, ...]] = {
    "3x4+1": (20.0, 60.0, 100.0, 140.0),
    "6x2": (15.0, 40.0, 65.0, 90.0, 115.0, 140.0),
    "12x1": tuple(14.0 + 12.0 * row for row in range(12)),
    "rhythm": (15.0, 40.0, 65.0, 90.0, 115.0, 140.0),
}
"""Lines of the rows below the upper edge of the grid."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trace:
    """One lead over one stretch of time. ``lines``: unbroken runs of (x, y); a gap of the recording is a gap here."""

    lead: str
    begins_s: float
    x_mm: float
    y_mm: float
    """Of the row's line."""
    lines: tuple[Points, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """``pulses_mm``: the lines at whose left a calibration pulse stands. ``breaks_mm``: (x, y) where a lead ends and
    the next one begins."""

    begins_s: float
    ends_s: float
    traces: tuple[Trace, ...]
    pulses_mm: tuple[float, ...]
    breaks_mm: tuple[tuple[float, float], ...]


def layout_of(ecg: Ecg, asked: Layout) -> Layout:
    """The layout that ``ecg`` can fill: anything but twelve leads is printed as rhythm."""
    return asked if ecg.is_twelve else "rhythm"


def page_count(ecg: Ecg, layout: Layout) -> int:
    """How many pages the whole recording takes."""
    return ceil(_stretches(ecg) / _stretches_a_page(ecg, layout_of(ecg, layout)))


def pages(ecg: Ecg, layout: Layout, first: int = 0) -> list[Page]:
    """At most ``MOST_PAGES`` pages, beginning with number ``first``; what the recording cannot fill becomes rhythm."""
    layout = layout_of(ecg, layout)
    last = min(page_count(ecg, layout), first + MOST_PAGES)
    if layout == "rhythm":
        return [_rhythm_page(ecg, number) for number in range(first, last)]
    return [_page(ecg, layout, number) for number in range(first, last)]


def pulse(y_mm: float) -> Points:
    """The calibration pulse at the left of a row: 1 mV for 200 ms."""
    x, up = GRID_LEFT_MM, y_mm - MM_PER_MV
    return np.array([(x, y_mm), (x + 2.5, y_mm), (x + 2.5, up), (x + 7.5, up), (x + 7.5, y_mm), (x + 10, y_mm)])


def _page(ecg: Ecg, layout: Layout, number: int) -> Page:
    columns, rows = COLUMNS[layout], [GRID_TOP_MM + row for row in _ROWS_MM[layout]]
    begins_s, ends_s = _span(ecg, number)
    width_s = PAGE_S / len(columns)
    traces = []
    for at, leads in enumerate(columns):
        from_s = begins_s + at * width_s
        to_s = ends_s if at == len(columns) - 1 else min(ends_s, from_s + width_s)
        x_mm = TRACE_LEFT_MM + at * width_s * MM_PER_S
        traces += [_trace(ecg, lead, from_s, to_s, x_mm, y_mm) for lead, y_mm in zip(leads, rows, strict=False)]
    if layout == "3x4+1":
        traces.append(_trace(ecg, "II", begins_s, ends_s, TRACE_LEFT_MM, rows[-1]))
    breaks = tuple(
        (TRACE_LEFT_MM + at * width_s * MM_PER_S, y_mm)
        for at in range(1, len(columns))
        for y_mm in rows[: len(columns[0])]
    )
    return Page(begins_s, ends_s, tuple(traces), tuple(rows), breaks)


def _rhythm_page(ecg: Ecg, number: int) -> Page:
    leads, rows = _rhythm_leads(ecg), [GRID_TOP_MM + row for row in _ROWS_MM["rhythm"]]
    a_page = _stretches_a_page(ecg, "rhythm")
    stretches = range(number * a_page, min((number + 1) * a_page, _stretches(ecg)))
    spans = [_span(ecg, stretch) for stretch in stretches]
    lines = [(lead, span) for span in spans for lead in leads]
    traces = [
        _trace(ecg, lead, from_s, to_s, TRACE_LEFT_MM, y_mm)
        for (lead, (from_s, to_s)), y_mm in zip(lines, rows, strict=False)
    ]
    return Page(spans[0][0], spans[-1][1], tuple(traces), tuple(rows[: len(lines)]), ())


def _rhythm_leads(ecg: Ecg) -> tuple[str, ...]:
    names = RHYTHM_LEADS if ecg.is_twelve else ecg.names()
    return tuple(names[: len(_ROWS_MM["rhythm"])])


def _stretches(ecg: Ecg) -> int:
    """Pieces of ``PAGE_S`` that the recording is cut into, a short rest counted to the one before it."""
    return max(1, ceil((ecg.duration_s - REST_S) / PAGE_S))


def _stretches_a_page(ecg: Ecg, layout: Layout) -> int:
    return len(_ROWS_MM["rhythm"]) // len(_rhythm_leads(ecg)) if layout == "rhythm" else 1


def _span(ecg: Ecg, stretch: int) -> tuple[float, float]:
    begins_s = stretch * PAGE_S
    last = stretch == _stretches(ecg) - 1
    return begins_s, ecg.duration_s if last else begins_s + PAGE_S


def _trace(ecg: Ecg, lead: str, from_s: float, to_s: float, x_mm: float, y_mm: float) -> Trace:
    rate_hz = ecg.sample_rate_hz
    first, last = round(from_s * rate_hz), round(to_s * rate_hz)
    mv = ecg.lead(lead).uv(ecg.resolution_uv)[first:last] / 1000
    there = ~np.isnan(mv)
    if not there.any():
        return Trace(lead, from_s, x_mm, y_mm, ())
    x = x_mm + (np.arange(first, first + len(mv)) / rate_hz - from_s) * MM_PER_S
    y = y_mm - (mv - np.median(mv[there])) * MM_PER_MV
    points = np.column_stack((x, y))
    cuts = np.flatnonzero(np.diff(there)) + 1
    runs = np.split(points, cuts)
    return Trace(lead, from_s, x_mm, y_mm, tuple(run for run in runs if not np.isnan(run[0, 1])))
