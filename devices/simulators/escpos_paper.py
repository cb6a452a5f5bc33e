"""Paper of a simulated slip printer: dots drawn as a thermal head would, with Noto's Chinese font in the cells.

Characters stand in cells of 12 or 24 by 24 dots, enlarged by doubling dots, as printers do. For demo and tests only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import segno
from PIL import Image, ImageDraw, ImageFont

from devices.errors import AskPerson
from devices.escpos import NARROW_DOTS, WIDE_DOTS, Align

FONTS = (
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc"),
)
"""Regular and bold, of Debian's fonts-noto-cjk."""
MONO_SC = 7
"""Noto Sans Mono CJK SC within the collection."""
MARGIN_DOTS = 16
BLACK = 0
WHITE = 255


class PaperNeedsFont(AskPerson):
    code = "printing_unavailable"


@dataclass(frozen=True, slots=True)
class Style:
    width: int = 1
    height: int = 1
    bold: bool = False


@dataclass(slots=True)
class Line:
    cells: list[tuple[str, Style]] = field(default_factory=list)
    align: Align = Align.LEFT

    @property
    def width_dots(self) -> int:
        return sum(cell_dots(character) * style.width for character, style in self.cells)

    @property
    def height_dots(self) -> int:
        return WIDE_DOTS * max((style.height for _, style in self.cells), default=1)


def cell_dots(character: str) -> int:
    return NARROW_DOTS if character.isascii() else WIDE_DOTS


class Paper:
    """:param width_dots: 384 for 58 mm, 576 for 80 mm paper"""

    def __init__(self, width_dots: int) -> None:
        self.width_dots = width_dots
        self._strips: list[Image.Image] = []

    @property
    def length_dots(self) -> int:
        return sum(strip.height for strip in self._strips)

    def blank(self, dots: int) -> None:
        if dots > 0:
            self._strips.append(Image.new("L", (self.width_dots, dots), WHITE))

    def line(self, line: Line, pitch_dots: int) -> None:
        """One printed line; what is wider than the paper is not drawn (the printer breaks lines before)."""
        strip = Image.new("L", (self.width_dots, max(pitch_dots, line.height_dots)), WHITE)
        left = self._left(line.width_dots, line.align)
        for character, style in line.cells:
            glyph = _glyph(character, style)
            strip.paste(glyph, (left, line.height_dots - glyph.height))
            left += glyph.width
        self._strips.append(strip)

    def qr_code(self, content: bytes, module_dots: int, level: str, align: Align) -> None:
        code = segno.make(content, error=level, micro=False, boost_error=False, mode="byte")
        rows = [bytes(row) for row in code.matrix]
        picture = Image.new("L", (len(rows[0]), len(rows)), WHITE)
        picture.putdata([BLACK if dark else WHITE for row in rows for dark in row])
        self._picture(picture.resize((picture.width * module_dots, picture.height * module_dots), 0), align)

    def raster(self, width_bytes: int, body: bytes, align: Align) -> None:
        height = len(body) // width_bytes
        picture = Image.frombytes("1", (width_bytes * 8, height), bytes(byte ^ 0xFF for byte in body))
        self._picture(picture.convert("L"), align)

    def image(self) -> Image.Image:
        """All of it with a white margin, one dot a pixel."""
        size = (self.width_dots + 2 * MARGIN_DOTS, self.length_dots + 2 * MARGIN_DOTS)
        sheet = Image.new("L", size, WHITE)
        top = MARGIN_DOTS
        for strip in self._strips:
            sheet.paste(strip, (MARGIN_DOTS, top))
            top += strip.height
        return sheet

    def _picture(self, picture: Image.Image, align: Align) -> None:
        strip = Image.new("L", (self.width_dots, picture.height), WHITE)
        strip.paste(picture, (self._left(picture.width, align), 0))
        self._strips.append(strip)

    def _left(self, width_dots: int, align: Align) -> int:
        spare = max(0, self.width_dots - width_dots)
        return {Align.LEFT: 0, Align.CENTRE: spare // 2, Align.RIGHT: spare}[align]


@cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(FONTS[bold], 22, index=MONO_SC)
    except OSError as missing:
        raise PaperNeedsFont("drawing slips needs the Debian package fonts-noto-cjk: install it") from missing


@cache
def _glyph(character: str, style: Style) -> Image.Image:
    cell = Image.new("L", (cell_dots(character), WIDE_DOTS), WHITE)
    if character.isprintable():
        ImageDraw.Draw(cell).text((cell.width / 2, 20), character, fill=BLACK, font=_font(style.bold), anchor="ms")
    dots = cell.point(lambda grey: BLACK if grey < 150 else WHITE)
    return dots.resize((cell.width * style.width, cell.height * style.height), 0)
