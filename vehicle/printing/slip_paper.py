"""A slip laid out in lines for 58 or 80 mm paper: the same lines become ESC/POS and the preview on the screen. Pure.

Width counts in columns of 12 dots; a Chinese character takes two. What is large (double height) is what a person has to
find without glasses: the values, and when to come again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import segno

from devices import escpos
from devices.escpos import Align, columns
from sync.formats.slips import Emphasis, Fact, Passage, Rule, Slip, Value

COLUMNS = {58: 32, 80: 48}
"""Paper in mm -> columns: 384 and 576 dots at 203 dpi."""
QR_MODULE_DOTS = 6
"""0.75 mm: any telephone reads it."""
_NOT_AT_LINE_START = "，。、；：？！）》」』】〉”’％℃…·,.;:?!)%"
_WORDS = re.compile(r"\s+|[!-~]+|.", re.DOTALL)
_QUIET_DOTS = 4 * QR_MODULE_DOTS
"""Below a QR code: four modules, ISO/IEC 18004 section 6.3.8; above it stands an empty line."""
_LEADING_DOTS = 10
"""White between lines, also between large ones."""


@dataclass(frozen=True, slots=True)
class PaperLine:
    """One line; ``height`` and ``width`` are how often its characters are enlarged (1 or 2)."""

    text: str
    align: Align = Align.LEFT
    width: int = 1
    height: int = 1
    bold: bool = False


@dataclass(frozen=True, slots=True)
class PaperCode:
    """A QR code in the middle."""

    text: str


PaperItem = PaperLine | PaperCode


@dataclass(frozen=True, slots=True)
class PrinterHabits:
    """What this printer can: of the settings ``[printer]``."""

    paper_mm: int = 58
    four_bytes: bool = True
    """It has the four-byte characters of GB 18030."""
    qr_by_raster: bool = False
    """It does not know GS ( k: QR codes are sent as pictures."""
    cuts: bool = True


def lay_out(slip: Slip, mark: str, code: str, paper_mm: int) -> list[PaperItem]:
    """
    :param mark: the line under the QR code: number of the slip, in words
    :param code: what the QR code says
    :param paper_mm: 58 or 80
    """
    across = COLUMNS[paper_mm]
    items: list[PaperItem] = [
        *(PaperLine(part, Align.CENTRE, 2, 2, bold=True) for part in wrap(slip.title, across // 2)),
        *(PaperLine(part, Align.CENTRE) for part in wrap(slip.place, across)),
        PaperLine("-" * across),
    ]
    for block in slip.blocks:
        items += _block(block, across)
    items.append(PaperLine("-" * across))
    items += [PaperLine(""), PaperCode(code)]
    items.append(PaperLine(mark, Align.CENTRE))
    items += [PaperLine(part, Align.CENTRE, bold=last) for last, part in _foot(slip.foot, across)]
    return items


def _foot(foot: tuple[str, ...], across: int) -> Iterator[tuple[bool, str]]:
    for at, line in enumerate(foot):
        yield from ((at == len(foot) - 1, part) for part in wrap(line, across))


def _block(block: object, across: int) -> Iterator[PaperLine]:
    match block:
        case Fact(label, text):
            yield from (PaperLine(line) for line in fact_lines(label, text, across))
        case Value(label, text, unit, _, word):
            for part in beside(label, f"[{word}]" if word else "", across):
                yield PaperLine(part, bold=True)
            for part in wrap(f"{text} {unit}".rstrip(), across):
                yield PaperLine(part, height=2, bold=True)
        case Passage(heading, text):
            yield from (PaperLine(part, bold=True) for part in wrap(heading, across))
            yield from (PaperLine(part) for part in wrap(text, across))
        case Emphasis(heading, text):
            yield from (PaperLine(part, bold=True) for part in wrap(heading, across))
            yield from (PaperLine(part, height=2, bold=True) for part in wrap(text, across))
        case Rule():
            yield PaperLine("-" * across)


def beside(left: str, right: str, across: int) -> list[str]:
    """Both in one line, one at each edge; one below the other where there is no room."""
    spare = across - columns(left) - columns(right)
    return [left + " " * spare + right] if spare > 0 else wrap(left, across) + wrap(right, across)


def fact_lines(label: str, text: str, across: int) -> list[str]:
    """Label and text in columns; text that is too long goes on below, moved in."""
    indent = min(max(10, columns(label) + 2), across // 2)
    head = label + " " * max(1, indent - columns(label))
    parts = wrap(text, across - indent) or [""]
    if columns(head) > indent:
        return [*wrap(label, across), *(" " * indent + part for part in parts)]
    return [head + parts[0], *(" " * indent + part for part in parts[1:])]


def wrap(text: str, across: int) -> list[str]:
    """Lines of at most ``across`` columns: between Chinese characters anywhere, between words at spaces, and never so
    that a line begins with a closing sign where that can be helped.
    """
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for piece in _pieces(paragraph, across):
            if columns(line) + columns(piece.rstrip()) <= across:
                line += piece
                continue
            lines.append(line.rstrip())
            line = piece.lstrip()
        lines.append(line.rstrip())
    return [line for line in lines if line]


def _pieces(paragraph: str, across: int) -> list[str]:
    """What may not be broken: words, single Chinese characters with the closing signs behind them."""
    pieces: list[str] = []
    for piece in _WORDS.findall(paragraph):
        if pieces and (piece in _NOT_AT_LINE_START or piece.isspace()) and columns(pieces[-1] + piece) <= across:
            pieces[-1] += piece
        elif columns(piece) <= across:
            pieces.append(piece)
        else:
            pieces += [piece[at : at + across] for at in range(0, len(piece), across)]
    return pieces


# bytes ----------------------------------------------------------------------------------------------------------------


def payload(items: list[PaperItem], habits: PrinterHabits) -> bytes:
    """The slip for the printer, from initialising to the cut."""
    sent = bytearray(escpos.INITIALISE + escpos.CHINESE_MODE)
    for item in items:
        if isinstance(item, PaperCode):
            sent += escpos.align(Align.CENTRE) + _code(item.text, habits.qr_by_raster)
            sent += escpos.feed_dots(_QUIET_DOTS)
        else:
            sent += escpos.line_spacing(_pitch_dots(item)) + escpos.align(item.align)
            sent += escpos.size(item.width, item.height) + escpos.bold(item.bold)
            sent += escpos.text(item.text, habits.four_bytes) + escpos.LINE_FEED
    sent += escpos.align(Align.LEFT) + (escpos.cut() if habits.cuts else escpos.feed(4))
    return bytes(sent)


def _pitch_dots(item: PaperLine) -> int:
    return escpos.WIDE_DOTS * item.height + _LEADING_DOTS


def _code(text: str, by_raster: bool) -> bytes:
    if not by_raster:
        return escpos.qr_code(text.encode("ascii"), QR_MODULE_DOTS)
    rows = [row for row in modules(text) for _ in range(QR_MODULE_DOTS)]
    return escpos.raster([_packed([dark for dark in row for _ in range(QR_MODULE_DOTS)]) for row in rows])


def modules(text: str) -> list[list[bool]]:
    """The QR code as rows of modules, True is dark; error correction M, without the quiet zone."""
    code = segno.make(text.encode("ascii"), error="m", micro=False, boost_error=False, mode="byte")
    return [[bool(module) for module in row] for row in code.matrix]


def _packed(dots: list[bool]) -> bytes:
    dots = dots + [False] * (-len(dots) % 8)
    return bytes(sum(dots[at + bit] << (7 - bit) for bit in range(8)) for at in range(0, len(dots), 8))


# preview --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PreviewText:
    """One character run of the preview: where it stands, in dots."""

    x: int
    y: int
    """Of the base line."""
    text: str
    width_dots: int
    size_dots: int
    stretch: float
    """How much higher than wide."""
    bold: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """A slip as drawing data for an SVG; one unit is one dot."""

    width_dots: int
    height_dots: int
    texts: tuple[PreviewText, ...]
    squares: tuple[tuple[int, int, int, int], ...]
    """Dark runs of QR codes: x, y, width, height."""


def preview(items: list[PaperItem], paper_mm: int) -> Preview:
    """The same lines at the same places as on paper."""
    width_dots = COLUMNS[paper_mm] * escpos.NARROW_DOTS
    texts: list[PreviewText] = []
    squares: list[tuple[int, int, int, int]] = []
    top = 0
    for item in items:
        if isinstance(item, PaperCode):
            rows = modules(item.text)
            left = (width_dots - len(rows) * QR_MODULE_DOTS) // 2
            squares += [
                (left + x * QR_MODULE_DOTS, top + y * QR_MODULE_DOTS, length * QR_MODULE_DOTS, QR_MODULE_DOTS)
                for y, row in enumerate(rows)
                for x, length in _runs(row)
            ]
            top += len(rows) * QR_MODULE_DOTS + _QUIET_DOTS
        else:
            texts += _preview_line(item, top, width_dots)
            top += _pitch_dots(item)
    return Preview(width_dots, top, tuple(texts), tuple(squares))


def _preview_line(item: PaperLine, top: int, width_dots: int) -> Iterator[PreviewText]:
    cell = escpos.NARROW_DOTS * item.width
    spare = width_dots - columns(item.text) * cell
    x = {Align.LEFT: 0, Align.CENTRE: spare // 2, Align.RIGHT: spare}[item.align]
    base = top + 20 * item.height
    for character in item.text:
        wide = columns(character) * cell
        if not character.isspace():
            yield PreviewText(x, base, character, wide, 22 * item.width, item.height / item.width, item.bold)
        x += wide


def _runs(row: list[bool]) -> Iterator[tuple[int, int]]:
    """(start, length) of the dark runs of a row."""
    at = 0
    while at < len(row):
        length = 0
        while at + length < len(row) and row[at + length]:
            length += 1
        if length:
            yield at, length
        at += max(1, length)
