"""One ECG on A4 landscape at true scale, as a PDF.

The words are set by Pango; grid and traces are path operators below them, so that every sample stands where
``ecg_paper`` says, to a thousandth of a millimetre. The file asks the viewer not to fit it to the paper.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sync.interop import ecg_leads, ecg_paper
from sync.interop.ecg_paper import (
    GRID_HEIGHT_MM,
    GRID_LEFT_MM,
    GRID_TOP_MM,
    GRID_WIDTH_MM,
    PAGE_HEIGHT_MM,
    PAGE_WIDTH_MM,
    Page,
    Points,
    Trace,
)
from sync.web.paper import pdf_of

POINT_MM = 25.4 / 72
MINOR_RGB, MAJOR_RGB, TRACE_RGB = (0.98, 0.83, 0.83), (0.93, 0.58, 0.58), (0.0, 0.0, 0.0)
MINOR_WIDTH_MM, MAJOR_WIDTH_MM, TRACE_WIDTH_MM = 0.1, 0.2, 0.25

_STYLE = f"""
@page {{ size: {PAGE_WIDTH_MM}mm {PAGE_HEIGHT_MM}mm; margin: 0 }}
body {{ margin: 0; font: 8.5pt/1.3 "Noto Sans CJK SC", "Noto Sans", sans-serif; color: #000 }}
section {{ position: relative; width: {PAGE_WIDTH_MM}mm; height: {PAGE_HEIGHT_MM}mm; overflow: hidden }}
section {{ break-after: page }}
section:last-child {{ break-after: auto }}
header, footer {{ position: absolute; left: {GRID_LEFT_MM}mm; width: {GRID_WIDTH_MM}mm; display: flex; gap: 6mm }}
header {{ top: 9mm; height: 22mm; overflow: hidden }}
footer {{ top: {GRID_TOP_MM + GRID_HEIGHT_MM + 1.5}mm; justify-content: space-between; white-space: nowrap }}
header > div {{ flex: 1 1 0; min-width: 0 }}
header > div:last-child {{ flex-grow: 1.7 }}
h1 {{ font-size: 13pt; line-height: 1.2; margin: 0 0 0.6mm }}
p {{ margin: 0; overflow-wrap: anywhere }}
.who {{ font-size: 11pt; font-weight: bold }}
.state {{ font-weight: bold; border: 0.3mm solid #000; padding: 0.2mm 1.6mm }}
.state {{ display: inline-block; margin: 0 2mm 0.5mm 0 }}
.lead {{ position: absolute; font-weight: bold; font-size: 9pt; line-height: 1 }}
"""


@dataclass(frozen=True, slots=True)
class Words:
    """What stands on every page, in the reader's language; short lines. ``state``: reviewed or not, in a frame."""

    language: str
    title: str
    who: str
    person: tuple[str, ...]
    place: tuple[str, ...]
    state: str
    disclaimer: str
    findings: tuple[str, ...]
    """At most four lines of about 38 Chinese characters together."""
    foot: tuple[str, ...]


def pdf(ecg: ecg_leads.Ecg, layout: ecg_paper.Layout, words: Words, first: int = 0) -> bytes:
    """At most ``ecg_paper.MOST_PAGES`` pages from number ``first`` on. Blocks for a second or two.

    :raises PrintingUnavailable: Pango or a Chinese font is missing on this computer
    """
    drawn = ecg_paper.pages(ecg, layout, first)
    whole = ecg_paper.page_count(ecg, layout)
    return pdf_of(_html(drawn, words, first, whole), below=[b"\n".join(_paths(page)) for page in drawn])


def _html(drawn: Sequence[Page], words: Words, first: int, whole: int) -> str:
    sections = "".join(_section(page, words, first + at, whole) for at, page in enumerate(drawn))
    title = html.escape(words.title)
    return (
        f'<!doctype html><html lang="{words.language}"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{sections}</body></html>"
    )


def _section(page: Page, words: Words, number: int, whole: int) -> str:
    span = f"{page.begins_s:.0f}–{page.ends_s:.1f} s"
    numbered = f"{number + 1}/{whole}" if whole > 1 else ""
    columns = (
        f"<h1>{html.escape(words.title)}</h1>{_lines(words.place)}",
        f'<p class="who">{html.escape(words.who)}</p>{_lines(words.person)}',
        f'<p><span class="state">{html.escape(words.state)}</span>{html.escape(words.disclaimer)}</p>'
        + _lines(words.findings),
    )
    head = "".join(f"<div>{column}</div>" for column in columns)
    foot = "".join(f"<span>{html.escape(part)}</span>" for part in (*words.foot, span, numbered) if part)
    leads = "".join(
        f'<span class="lead" style="left:{trace.x_mm + 1}mm;top:{_label_mm(page, trace.y_mm)}mm">'
        f"{html.escape(_label(page, trace))}</span>"
        for trace in page.traces
    )
    return f"<section><header>{head}</header>{leads}<footer>{foot}</footer></section>"


def _label(page: Page, trace: Trace) -> str:
    """Rows that go on where another ended say since when."""
    first = min(one.begins_s for one in page.traces if one.lead == trace.lead)
    goes_on = trace.begins_s > first and trace.x_mm == ecg_paper.TRACE_LEFT_MM
    return f"{trace.lead}  {trace.begins_s:.0f} s" if goes_on else trace.lead


def _label_mm(page: Page, y_mm: float) -> float:
    """As far above the row's line as the distance of the rows allows."""
    apart = page.pulses_mm[1] - page.pulses_mm[0] if len(page.pulses_mm) > 1 else 40.0
    return round(y_mm - min(14.0, apart * 0.55), 3)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)


def _paths(page: Page) -> Iterator[bytes]:
    """Path operators (ISO 32000-1, 8.5) in millimetres from the upper left corner."""
    scale = 1 / POINT_MM
    yield b"q %.9f 0 0 %.9f 0 %.9f cm 1 j 1 J" % (scale, -scale, PAGE_HEIGHT_MM * scale)
    yield from _grid(1.0, MINOR_WIDTH_MM, MINOR_RGB)
    yield from _grid(5.0, MAJOR_WIDTH_MM, MAJOR_RGB)
    yield b"%.3f %.3f %.3f %.3f re W n" % (GRID_LEFT_MM, GRID_TOP_MM, GRID_WIDTH_MM, GRID_HEIGHT_MM)
    yield b"%.2f w %.2f %.2f %.2f RG" % (TRACE_WIDTH_MM, *TRACE_RGB)
    for y_mm in page.pulses_mm:
        yield _line(ecg_paper.pulse(y_mm))
    for x_mm, y_mm in page.breaks_mm:
        yield b"%.3f %.3f m %.3f %.3f l S" % (x_mm, y_mm - 2.5, x_mm, y_mm + 2.5)
    for trace in page.traces:
        for run in trace.lines:
            yield _line(run)
    yield b"Q"


def _grid(step_mm: float, width_mm: float, rgb: tuple[float, float, float]) -> Iterator[bytes]:
    right, bottom = GRID_LEFT_MM + GRID_WIDTH_MM, GRID_TOP_MM + GRID_HEIGHT_MM
    yield b"%.2f w %.2f %.2f %.2f RG" % (width_mm, *rgb)
    for line in range(round(GRID_WIDTH_MM / step_mm) + 1):
        x = GRID_LEFT_MM + line * step_mm
        yield b"%.3f %.3f m %.3f %.3f l" % (x, GRID_TOP_MM, x, bottom)
    for line in range(round(GRID_HEIGHT_MM / step_mm) + 1):
        y = GRID_TOP_MM + line * step_mm
        yield b"%.3f %.3f m %.3f %.3f l" % (GRID_LEFT_MM, y, right, y)
    yield b"S"


def _line(points: Points) -> bytes:
    """One run; a single sample is a dot, as the line's cap is round."""
    coordinates = points if len(points) > 1 else points.repeat(2, axis=0)
    told = [b"%.3f %.3f" % (x, y) for x, y in coordinates.tolist()]
    return told[0] + b" m " + b" l ".join(told[1:]) + b" l S"
