"""A slip printer at its far end of the wire: takes ESC/POS, answers about itself, prints on paper one can look at.

As a real one it takes what it is sent into a buffer and works it off as paper moves; with the paper out or the cover
open it stops there, keeps the rest, answers DLE EOT all the same and GS r not at all, and goes on with new paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devices.escpos import LINE_DOTS, Align
from devices.simulators.escpos_paper import Line, Paper, Style, cell_dots

SPEED_DOTS_S = 600.0
"""75 mm/s."""
BUFFER_BYTES = 64 * 1024
CUTTER_DOTS = 80
"""From the head to the cutter: fed by GS V 66."""
NEEDED = {
    b"\x1b@": 0, b"\x1c&": 0, b"\x1c.": 0, b"\x1b2": 0,
    b"\x1ba": 1, b"\x1bE": 1, b"\x1d!": 1, b"\x1c!": 1, b"\x1b3": 1, b"\x1bd": 1, b"\x1bJ": 1, b"\x1dr": 1,
}  # fmt: skip
"""Command -> bytes of parameters."""


@dataclass(frozen=True, slots=True)
class PrintedSlip:
    """From one cut to the next."""

    paper: Paper
    text: str
    codes: tuple[bytes, ...]
    """What its QR codes hold."""


class EscPosPrinterTwin:
    """
    :param width_dots: 384 (58 mm) or 576 (80 mm)
    :param answers: False: a printer whose way back is not wired
    :param on_slip: told of every slip when it is cut
    """

    streaming = False

    def __init__(
        self,
        width_dots: int = 384,
        answers: bool = True,
        on_slip: Callable[[PrintedSlip], None] = lambda slip: None,
    ) -> None:
        self.paper_in = True
        self.paper_low = False
        self.cover_open = False
        self.paper_left_dots: float | None = None
        """Paper ends after so many dots; None: a long roll."""
        self.slips: list[PrintedSlip] = []
        self.unknown: list[bytes] = []
        """Commands it does not have: what follows came out as text."""
        self._width_dots = width_dots
        self._answers = answers
        self.on_slip = on_slip
        self._said = b""
        self._line, self._text, self._codes = Line(), list[str](), list[bytes]()
        self._style, self._align = Style(), Align.LEFT
        self.power_on()

    def power_on(self) -> None:
        """Switched on: buffer and torn slip are gone, the printed ones lie there."""
        self._half = b""
        self._buffer = bytearray()
        self._budget_dots = 0.0
        self._new_slip()
        self._reset()

    def receive(self, chunk: bytes) -> bytes:
        """Real-time questions are answered at once, everything else waits for ``advance``."""
        answer = bytearray()
        chunk, self._half = self._half + chunk, b""
        at = 0
        while at < len(chunk):
            head = chunk[at : at + 3]
            if head == b"\x10\x04"[: len(head)]:
                self._half = head
                break
            if head[:2] == b"\x10\x04":
                answer.append(self._status(head[2]))
                at += 3
            else:
                if len(self._buffer) < BUFFER_BYTES:
                    self._buffer.append(chunk[at])
                at += 1
        return bytes(answer) if self._answers else b""

    def advance(self, elapsed_s: float) -> bytes:
        """Works off the buffer at the speed of the paper; what GS r asked comes back from here."""
        self._said = b""
        self._budget_dots = min(self._budget_dots + elapsed_s * SPEED_DOTS_S, SPEED_DOTS_S)
        while self._buffer and self._budget_dots > 0 and self.online:
            taken = self._command()
            if taken == 0:
                break
            del self._buffer[:taken]
        return self._said if self._answers else b""

    @property
    def online(self) -> bool:
        return self.paper_in and not self.cover_open

    def put_paper_in(self) -> None:
        self.paper_in, self.paper_left_dots = True, None

    # what it says ---------------------------------------------------------------------------------------------------

    def _status(self, what: int) -> int:
        fixed = 0x12
        if what == 1:
            return fixed | (0 if self.online else 0x08)
        if what == 2:
            return fixed | (0x04 if self.cover_open else 0) | (0 if self.paper_in else 0x20)
        if what == 4:
            return fixed | (0x0C if self.paper_low else 0) | (0 if self.paper_in else 0x60)
        return fixed

    # what it does ---------------------------------------------------------------------------------------------------

    def _command(self) -> int:
        """Do the first thing in the buffer; how many bytes it had, 0 when some are still to come."""
        head = bytes(self._buffer[:2])
        if head[0] in b"\x1b\x1c\x1d":
            if len(head) < 2:
                return 0
            if head in (b"\x1d(", b"\x1dV", b"\x1dv"):
                return self._long_command(head)
            if head in NEEDED:
                length = 2 + NEEDED[head]
                if len(self._buffer) < length:
                    return 0
                self._short_command(head, self._buffer[2] if length > 2 else 0)
                return length
            self.unknown.append(head)
            return 1
        return self._character()

    def _short_command(self, head: bytes, n: int) -> None:
        match head:
            case b"\x1b@":
                self._reset()
            case b"\x1ba":
                self._align = Align(n & 0x0F) if n in (0, 1, 2, 48, 49, 50) else self._align
            case b"\x1bE":
                self._style = Style(self._style.width, self._style.height, bool(n & 1))
            case b"\x1d!":
                self._style = Style((n >> 4) + 1, (n & 7) + 1, self._style.bold)
            case b"\x1c!":
                self._style = Style(2 if n & 4 else 1, 2 if n & 8 else 1, self._style.bold)
            case b"\x1b3":
                self._pitch_dots = n
            case b"\x1b2":
                self._pitch_dots = LINE_DOTS
            case b"\x1bd":
                self._end_line()
                self._feed(n * self._pitch_dots)
            case b"\x1bJ":
                self._end_line()
                self._feed(n)
            case b"\x1dr":
                self._said += b"\x00"

    def _long_command(self, head: bytes) -> int:
        if head == b"\x1dV":
            length = 4 if len(self._buffer) > 2 and self._buffer[2] in (65, 66) else 3
            if len(self._buffer) >= length:
                self._cut(CUTTER_DOTS if length == 4 else 0)
                return length
            return 0
        if head == b"\x1dv":
            if len(self._buffer) < 8:
                return 0
            width_bytes = int.from_bytes(self._buffer[4:6], "little")
            length = 8 + width_bytes * int.from_bytes(self._buffer[6:8], "little")
            if len(self._buffer) < length:
                return 0
            if length > 8:
                self._slip.raster(width_bytes, bytes(self._buffer[8:length]), self._align)
                self._used((length - 8) // width_bytes)
            return length
        if len(self._buffer) < 5:
            return 0
        length = 5 + int.from_bytes(self._buffer[3:5], "little")
        if len(self._buffer) < length:
            return 0
        self._symbol(bytes(self._buffer[2:3]), bytes(self._buffer[5:length]))
        return length

    def _symbol(self, group: bytes, parameters: bytes) -> None:
        if group != b"k" or parameters[:1] != b"1" or len(parameters) < 3:
            self.unknown.append(b"\x1d(" + group)
            return
        function, n, rest = parameters[1], parameters[2], parameters[3:]
        if function == 67 and 1 <= n <= 16:
            self._module_dots = n
        elif function == 69 and 48 <= n <= 51:
            self._level = "lmqh"[n - 48]
        elif function == 80:
            self._symbol_data = rest
        elif function == 81 and self._symbol_data:
            before = self._slip.length_dots
            self._slip.qr_code(self._symbol_data, self._module_dots, self._level, self._align)
            self._codes.append(self._symbol_data)
            self._used(self._slip.length_dots - before)

    def _character(self) -> int:
        first = self._buffer[0]
        if first == 0x0A:
            self._end_line(always=True)
            return 1
        if first < 0x20:
            self.unknown.append(bytes([first]))
            return 1
        length = 1
        if first >= 0x81:
            if len(self._buffer) < 2:
                return 0
            length = 4 if 0x30 <= self._buffer[1] <= 0x39 else 2
        if len(self._buffer) < length:
            return 0
        character = bytes(self._buffer[:length]).decode("gb18030", "replace")
        if self._line.width_dots + cell_dots(character) * self._style.width > self._width_dots:
            self._end_line()
        self._line.align = self._align
        self._line.cells.append((character, self._style))
        return length

    def _end_line(self, always: bool = False) -> None:
        if not self._line.cells and not always:
            return
        self._text.append("".join(character for character, _ in self._line.cells))
        before = self._slip.length_dots
        if self._line.cells:
            self._slip.line(self._line, self._pitch_dots)
        else:
            self._slip.blank(self._pitch_dots)
        self._line = Line()
        self._used(self._slip.length_dots - before)

    def _feed(self, dots: int) -> None:
        self._slip.blank(dots)
        self._used(dots)

    def _cut(self, feed_dots: int) -> None:
        self._end_line()
        self._feed(feed_dots)
        slip = PrintedSlip(self._slip, "\n".join(self._text), tuple(self._codes))
        self.slips.append(slip)
        self._new_slip()
        self.on_slip(slip)

    def _used(self, dots: int) -> None:
        self._budget_dots -= dots
        if self.paper_left_dots is not None:
            self.paper_left_dots -= dots
            self.paper_in = self.paper_left_dots > 0

    def _new_slip(self) -> None:
        self._slip = Paper(self._width_dots)
        self._line, self._text, self._codes = Line(), [], []

    def _reset(self) -> None:
        self._align, self._style, self._pitch_dots = Align.LEFT, Style(), LINE_DOTS
        self._module_dots, self._level, self._symbol_data = 3, "l", b""
