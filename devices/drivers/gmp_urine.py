"""Urine strip readers of the GMP UA kind (frames ``93 8E``), as bound by Bluetooth serial port or USB.

Frame ``93 8E | length u16 LE | 08 | token | content | sum``: the length counts itself to the last byte before the sum,
the sum runs over the same bytes, modulo 256. The reader answers when asked:

=====  ================  ==============================================================================================
token  request           reply
=====  ================  ==============================================================================================
01     ``CONT``          the same: somebody is there
04     nothing           the newest record, 10 bytes packed in bits (``record_of``); all FF: there is none
=====  ================  ==============================================================================================

It is asked every 3 s; a record is told once. Only the newest is asked for; other tokens were not verified and are never
sent. Fields come as levels: 0 "-", 1 "±", n "+(n-1)"; pH and specific gravity as numbers of a table. A level that the
table lacks is told as "?" with its number.

Source: public integration code for a GMP UA reader (facts only); whether BC400/401 speak the same was not verified. Not
tried on hardware by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from devices.analytes import analytes
from devices.driver import About, Counters, Metric, Output, SerialLine, Write
from devices.framing import Frame
from devices.readings import DeviceState, LaboratoryResult, LaboratoryValue, Link, Sensor
from devices.sized_frames import SizedFramer

SYNC = b"\x93\x8e"
MACHINE = 0x08
CONFIRM, NEWEST = 0x01, 0x04
MIN_LENGTH, MAX_LENGTH = 4, 64
TOKEN_AT = 5
RECORD_BYTES = 10
POLL_S = 3.0

PH = ("5.0", "6.0", "6.5", "7.0", "7.5", "8.0", "8.5")
KEYS = {
    "LEU": "u_leukocytes",
    "NIT": "u_nitrite",
    "UBG": "u_urobilinogen",
    "PRO": "u_protein",
    "PH": "u_ph",
    "BLD": "u_blood",
    "SG": "u_gravity",
    "KET": "u_ketones",
    "BIL": "u_bilirubin",
    "GLU": "u_glucose",
    "VC": "u_ascorbate",
}


def frame(token: int, content: bytes = b"") -> bytes:
    body = bytes((MACHINE, token)) + content
    counted = (len(body) + 2).to_bytes(2, "little") + body
    return SYNC + counted + bytes((sum(counted) % 256,))


def _size_of(held: bytes) -> int | None:
    """Sync and sum are not counted by the length."""
    if len(held) < 4:
        return None
    length = int.from_bytes(held[2:4], "little")
    return length + 3 if MIN_LENGTH <= length <= MAX_LENGTH else 0


def _is_good(whole: bytes) -> bool:
    return sum(whole[2:-1]) % 256 == whole[-1]


ASK_CONFIRM, ASK_NEWEST = frame(CONFIRM, b"CONT"), frame(NEWEST)


@dataclass(frozen=True, slots=True)
class Strip:
    """One record: the reader's running number, its clock, the level of each field as 0 to 7."""

    number: int
    said_at: str | None
    levels: dict[str, int]


def record_of(content: bytes) -> Strip | None:
    """The record in the content of a reply to ``NEWEST``; None: the reader has none.

    :param content: what follows the token, two bytes of unknown meaning first

    :raises ValueError: too short.
    """
    if len(content) < 2 + RECORD_BYTES:
        raise ValueError(f"{len(content)} bytes are no record")
    b = content[2 : 2 + RECORD_BYTES]
    if set(b) == {0xFF}:
        return None
    year, month, day = b[3] & 0x7F, (b[2] & 7) << 1 | b[3] >> 7, b[2] >> 3
    hour, minute = b[5] & 0x1F, (b[4] & 7) << 3 | b[5] >> 5
    levels = {
        "LEU": b[4] >> 3 & 7,
        "NIT": b[7] & 7,
        "UBG": b[7] >> 3 & 7,
        "PRO": (b[6] & 1) << 2 | b[7] >> 6,
        "PH": b[6] >> 1 & 7,
        "BLD": b[6] >> 4 & 7,
        "SG": b[9] & 7,
        "KET": b[9] >> 3 & 7,
        "BIL": (b[8] & 1) << 2 | b[9] >> 6,
        "GLU": b[8] >> 1 & 7,
        "VC": b[8] >> 4 & 7,
    }
    return Strip((b[0] & 7) << 8 | b[1], _time(2000 + year, month, day, hour, minute), levels)


def _time(*parts: int) -> str | None:
    try:
        return datetime(*parts).isoformat(timespec="seconds")  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None


def said(code: str, level: int) -> str:
    """A level as the reader's display shows it."""
    if code == "PH":
        return PH[level] if level < len(PH) else f"?{level}"
    if code == "SG":
        return f"{1 + 0.005 * level:.3f}"
    return ("-", "±")[level] if level < 2 else f"+{level - 1}"


class Driver:
    about: ClassVar[About] = About(
        title_zh="尿液分析仪",
        title_en="Urine strip reader",
        models=("GMP UA",),
        metrics=tuple(Metric(key, None, analytes()[key].loinc, analytes()[key].ucum) for key in KEYS.values()),
        line=SerialLine(115200),
        source="public integration code (facts); hardware/protocols/gmp_urine.md",
        lost_after_s=10.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_CONFIRM, ASK_NEWEST)

    def __init__(self) -> None:
        self.counters = Counters()
        self._framer = SizedFramer(SYNC, _size_of, _is_good, MAX_LENGTH + 3, self.counters)
        self._since_asked_s = 0.0
        self._told: Strip | None = None
        self._state_told = False

    def open(self) -> Output:
        self._framer.reset()
        self._since_asked_s = 0.0
        self._state_told = False
        return Output(writes=[Write(ASK_CONFIRM), Write(ASK_NEWEST, after_s=0.2)])

    def close(self) -> Output:
        self._framer.reset()
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if not isinstance(piece, Frame):
                continue
            if not self._state_told:
                self._state_told = True
                output.events.append(DeviceState(Link.CONNECTED, Sensor.OK))
            if piece.payload[TOKEN_AT] == NEWEST:
                self._record(piece.payload[TOKEN_AT + 1 : -1], output)
        return output

    def tick(self, elapsed_s: float) -> Output:
        self._since_asked_s += elapsed_s
        if self._since_asked_s < POLL_S:
            return Output()
        self._since_asked_s = 0.0
        self._framer.give_up()
        return Output(writes=[Write(ASK_NEWEST)])

    def _record(self, content: bytes, output: Output) -> None:
        try:
            strip = record_of(content)
        except ValueError:
            self.counters.resyncs += 1
            return
        if strip is None or strip == self._told:
            return
        self._told = strip
        values = tuple(_value(code, strip.levels[code]) for code in KEYS)
        output.events.append(
            LaboratoryResult(
                specimen=str(strip.number),
                values=values,
                analyser="GMP UA",
                material="urine",
                device_said_at=strip.said_at,
            )
        )


def _value(code: str, level: int) -> LaboratoryValue:
    text = said(code, level)
    number = float(text) if code in ("PH", "SG") and not text.startswith("?") else None
    ucum = analytes()[KEYS[code]].ucum if number is not None else None
    return LaboratoryValue(code=code, said=text, key=KEYS[code], number=number, quantity=number, ucum=ucum)
