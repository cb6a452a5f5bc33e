"""Paper of a simulated slip printer: dots drawn as a thermal head would, with Noto's Chinese font in the cells.

Characters stand in cells of 12 or 24 by 24 dots, enlarged by doubling dots, as printers do. For demo and tests only.
"""

from __future__ import annotations

from collections.abc import Callable
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

Draw = Callable[[Image.Image, int], None]
"""Draws on a sheet, from so far below its top."""


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
    """What was printed, drawn when somebody looks.

    :param width_dots: 384 for 58 mm, 576 for 80 mm paper
    """

    def __init__(self, width_dots: int) -> None:
        self.width_dots = width_dots
        self.length_dots = 0
        self._strips: list[tuple[int, Draw]] = []
        """(from the top, what draws it)."""

    def blank(self, dots: int) -> None:
        self.length_dots += dots

    def line(self, line: Line, pitch_dots: int) -> None:
        """One printed line; the printer has seen to it that it fits."""
        self._add(max(pitch_dots, line.height_dots), lambda sheet, top: self._draw_line(sheet, top, line))

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
        """All of it with a white margin, one dot a pixel.

        :raises PaperNeedsFont: no Chinese font on this computer
        """
        size = (self.width_dots + 2 * MARGIN_DOTS, self.length_dots + 2 * MARGIN_DOTS)
        sheet = Image.new("L", size, WHITE)
        for top, draw in self._strips:
            draw(sheet, top + MARGIN_DOTS)
        return sheet

    def _picture(self, picture: Image.Image, align: Align) -> None:
        left = MARGIN_DOTS + self._left(picture.width, align)
        self._add(picture.height, lambda sheet, top: sheet.paste(picture, (left, top)))

    def _add(self, height: int, draw: Draw) -> None:
        self._strips.append((self.length_dots, draw))
        self.length_dots += height

    def _draw_line(self, sheet: Image.Image, top: int, line: Line) -> None:
        left = MARGIN_DOTS + self._left(line.width_dots, line.align)
        for character, style in line.cells:
            glyph = _glyph(character, style)
            sheet.paste(glyph, (left, top + line.height_dots - glyph.height))
            left += glyph.width

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
