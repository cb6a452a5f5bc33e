"""ESC/POS for slip printers: commands out, status in. Pure, no I/O.

The command set is Epson's; makers of 58 and 80 mm thermal printers follow it. Facts from the published references:
Epson "ESC/POS Command Reference" (download4.epson.biz/sec_pubs/pos/reference_en), Star Micronics "ESC/POS Mode Command
Specifications" Rev. 2.50 and the manuals of Rongta RP325 and HPRT TP80K. Text is GB 18030, as printers sold in China
expect it in Chinese mode (FS &): one byte is a character of 12 dots, two or four bytes are one of 24 dots.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

NARROW_DOTS, WIDE_DOTS, LINE_DOTS = 12, 24, 30
"""Font A; a Chinese character; the line spacing after ESC @ (1/6 inch is 34 at some makers, so ESC 3 sets it)."""
GETA = "〓"
"""What stands for a character that the printer cannot have, as in Chinese and Japanese typesetting."""

_ESC, _FS, _GS, _DLE_EOT = b"\x1b", b"\x1c", b"\x1d", b"\x10\x04"
INITIALISE = _ESC + b"@"
CHINESE_MODE = _FS + b"&"
LINE_FEED = b"\n"
ASK_PROCESSED = _GS + b"r\x01"
"""GS r 1: answered when everything before it was printed, and not while the paper is out."""
QR_LEVELS = {"l": 48, "m": 49, "q": 50, "h": 51}


class Align(IntEnum):
    LEFT = 0
    CENTRE = 1
    RIGHT = 2


class Ask(IntEnum):
    """The n of DLE EOT n: answered at once, also when the printer is off line or its buffer is full."""

    PRINTER = 1
    OFFLINE = 2
    ERROR = 3
    PAPER = 4


def ask(what: Ask) -> bytes:
    return _DLE_EOT + bytes([what])


def align(side: Align) -> bytes:
    return _ESC + b"a" + bytes([side])


def bold(on: bool) -> bytes:
    return _ESC + b"E" + bytes([on])


def size(width: int, height: int) -> bytes:
    """Characters ``width`` and ``height`` times as large, 1 or 2.

    GS ! is for all characters on printers that follow the reference; older Chinese ones hear FS ! for Chinese
    characters only. Both say the same here.
    """
    if width not in (1, 2) or height not in (1, 2):
        raise ValueError(f"characters are 1 or 2 times as large, not {width}x{height}")
    chinese = (0x04 if width == 2 else 0) | (0x08 if height == 2 else 0)
    return _GS + b"!" + bytes([(width - 1) << 4 | (height - 1)]) + _FS + b"!" + bytes([chinese])


def line_spacing(dots: int) -> bytes:
    return _ESC + b"3" + bytes([dots])


def feed(lines: int) -> bytes:
    """Print what is in the line and feed; 0 to 255."""
    return _ESC + b"d" + bytes([lines])


def feed_dots(dots: int) -> bytes:
    """Print what is in the line and feed so far; 0 to 255."""
    return _ESC + b"J" + bytes([dots])


def cut() -> bytes:
    """GS V 66 0: feed to the cutter, cut and leave a bridge; printers without a cutter only feed."""
    return _GS + b"VB\x00"


def text(written: str, four_bytes: bool = True) -> bytes:
    """GB 18030 without control characters, so that no text is ever a command.

    :param four_bytes: the printer knows the four-byte characters (rare names, other scripts); without it they become
        ``GETA``, as their bytes would come out as digits
    """
    encoded = bytearray()
    for character in written:
        if character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff":
            continue
        code = character.encode("gb18030")
        encoded += code if four_bytes or len(code) < 4 else GETA.encode("gb18030")
    return bytes(encoded)


def columns(written: str) -> int:
    """Width in characters of 12 dots: what is one byte in GB 18030 takes one, everything else two."""
    return sum(1 if character.isascii() else 2 for character in written)


def qr_code(content: bytes, module_dots: int, level: str = "m") -> bytes:
    """Model 2, GS ( k functions 165, 167, 169, 180 and 181.

    :param module_dots: 1 to 16
    :param level: error correction: l, m, q or h
    """
    if not 1 <= module_dots <= 16 or not 1 <= len(content) <= 7089:
        raise ValueError(f"{len(content)} bytes with modules of {module_dots} dots are no QR code")
    return (
        _symbol(b"\x31\x41\x32\x00")
        + _symbol(b"\x31\x43" + bytes([module_dots]))
        + _symbol(b"\x31\x45" + bytes([QR_LEVELS[level]]))
        + _symbol(b"\x31\x50\x30" + content)
        + _symbol(b"\x31\x51\x30")
    )


def _symbol(parameters: bytes) -> bytes:
    return _GS + b"(k" + len(parameters).to_bytes(2, "little") + parameters


def raster(rows: list[bytes]) -> bytes:
    """GS v 0: a picture, one bit a dot, 1 is black, most significant bit left; all rows of one length.

    Contains no real-time command by chance: DLE EOT and DLE DC4 inside a picture would be taken for one, so a dot is
    left out there.
    """
    width_bytes = len(rows[0])
    if any(len(row) != width_bytes for row in rows):
        raise ValueError("the rows of a picture are of one length")
    body = bytearray(b"".join(rows))
    for at in range(len(body) - 1):
        if body[at] == 0x10 and body[at + 1] in (0x04, 0x05, 0x14):
            body[at] = 0
    head = _GS + b"v0\x00" + width_bytes.to_bytes(2, "little") + len(rows).to_bytes(2, "little")
    return head + bytes(body)


# status ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """What a printer has said of itself; None: it was not asked yet, or it never answers."""

    offline: bool | None = None
    cover_open: bool | None = None
    failed: bool | None = None
    """Cutter jammed, head too hot, or a fault that only switching off helps."""
    paper_out: bool | None = None
    paper_low: bool | None = None

    @property
    def fault(self) -> str | None:
        """The error code to show, the most telling one; None: it can print, or it does not say."""
        if self.cover_open:
            return "printer_cover_open"
        if self.paper_out:
            return "printer_paper_out"
        if self.failed:
            return "printer_failed"
        return "printer_offline" if self.offline else None


def is_real_time_answer(byte: int) -> bool:
    """Fixed bits of every answer to DLE EOT: bit 0 and 7 are 0, bit 1 and 4 are 1. XON and XOFF are none."""
    return byte & 0x93 == 0x12


def is_processed_answer(byte: int) -> bool:
    """Fixed bits of the answer to GS r: bit 4 and 7 are 0."""
    return byte & 0x90 == 0x00


def with_answer(known: Status, asked: Ask, byte: int) -> Status:
    """``known`` with what the answer to one question says."""
    said = {name: getattr(known, name) for name in Status.__slots__}
    if asked is Ask.PRINTER:
        said["offline"] = bool(byte & 0x08)
    elif asked is Ask.OFFLINE:
        said["cover_open"] = bool(byte & 0x04)
    elif asked is Ask.ERROR:
        said["failed"] = bool(byte & 0x68)
    else:
        said["paper_low"] = bool(byte & 0x0C)
        said["paper_out"] = bool(byte & 0x60)
    return Status(**said)
