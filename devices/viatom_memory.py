"""The memory of Viatom's rings: its files by name, fetched block by block, and what is in them. Pure.

Asked (``AA | command | ~command | block u16 LE | length | data | CRC``), one question at a time, for answers
(``55 | status | ~status | ...``, status 0: well) do not say what they answer:

====  =============================  =================================================================================
ask   with                           answer
====  =============================  =================================================================================
14                                   JSON text; ``FileList``: names, a comma after each, a name is the start time;
                                     ``CurTIME``: what the ring's clock shows
03    the name and a zero            length of the file, u32
04    block 0, 1, 2 ...              the next part of it, as long as the ring likes
05                                   nothing: the file is closed
====  =============================  =================================================================================

A file that is gone is answered as if it were there, with the one that was opened last: so the start in a file must be
that of its name. Nothing deletes; the ring drops the oldest by itself. The file, little endian:

=====  ===============================================================================================================
byte   what it is
=====  ===============================================================================================================
0      version 3 (5: Checkme O2 Max); 1 mode
2      year u16, month, day, hour, minute, second: the start, by the ring's clock
9      length u32; 13 duration in seconds u16; to 39 the ring's own summary and steps: not used, we count ourselves
40     records of five bytes: SpO2, pulse rate u16, movement, reminders
=====  ===============================================================================================================

SpO2 0, 127 and above 100, pulse 0, 255, 511 and above 300 are no values. A record stands for duration / records
seconds: 4, in newer ones 2 or 1; some old files tell every record of 4 s twice.

Source: docs/PROTOCOL.md of darrylburke/lookee_o2ring_bluetooth (tried on a ring with firmware 1.13.0) and of
khromov/wellue-o2ring-web-ui; MackeyStingray/o2r. Layouts and constants as facts. Not tried on hardware by us.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime

from devices import viatom
from devices.readings import StoredOximetry

OPEN, READ, CLOSE = 0x03, 0x04, 0x05
VERSIONS = (3, 5)
HEADER_BYTES, RECORD = 40, struct.Struct("<BHBB")
INTERVALS_S = (1, 2, 4)
NO_SPO2, NO_PULSE = (0, 0x7F), (0, 0xFF, 0x1FF)
FASTEST_BPM = 300
MOST_BYTES = HEADER_BYTES + RECORD.size * 24 * 3600
MOST_FILES = 64
MOST_READS = 2
_NAME = re.compile(r"\d{14}")

Known = Collection[tuple[str | None, int]]
"""Start and number of values of what is kept here already."""


def question(command: int, data: bytes = b"", block: int = 0) -> bytes:
    return viatom.frame_of(command, data, head=viatom.RING_ASKS, kind=block & 0xFF, number=block >> 8)


QUESTIONS = tuple(question(command)[:3] for command in (OPEN, READ, CLOSE))
"""Beginnings of what may be sent."""


class Memory:
    """What of the ring's files is wanted, and the one that is coming in. ``begin`` at each connection."""

    def __init__(self) -> None:
        self.begin(())

    def begin(self, known: Known) -> None:
        self._known = frozenset(known)
        self._wanted: deque[str] = deque()
        self._reads: dict[str, int] = {}
        self._asked = 0
        self._file = bytearray()
        self._length = 0
        self._block = 0
        self.incomplete = False
        """A file did not come whole, or is none."""

    def listed(self, names: list[str]) -> None:
        """What the ring has; what was fetched since ``begin``, or was none, is not fetched again."""
        new = [name for name in names[-MOST_FILES:] if name not in self._wanted and name not in self._reads]
        self._wanted.extend(new)

    def unanswered(self) -> None:
        """The question is given up; the ring's next list begins anew."""
        self._wanted.clear()

    def next_question(self) -> bytes | None:
        """To be asked now; None: there is nothing to fetch."""
        if not self._wanted:
            self._asked = 0
            return None
        if self._asked == READ:
            return question(READ, block=self._block)
        if self._asked == CLOSE:
            return question(CLOSE)
        self._asked = OPEN
        self._file.clear()
        self._block = self._length = 0
        return question(OPEN, self._wanted[0].encode("ascii") + b"\0")

    def answered(self, data: bytes) -> StoredOximetry | None:
        """
        :param data: what was said to the last question; a refusal is nothing
        :return: a file that is whole now
        """
        if self._asked == CLOSE:
            self._asked = 0
            self._wanted.popleft()
        elif self._asked == OPEN:
            self._opened(data)
        elif self._asked == READ:
            return self._part(data)
        return None

    def _opened(self, data: bytes) -> None:
        self._length = int.from_bytes(data, "little") if len(data) == 4 else 0
        if not HEADER_BYTES + RECORD.size <= self._length <= MOST_BYTES:
            self._over(whole=False)
            return
        n, said_at = (self._length - HEADER_BYTES) // RECORD.size, said_at_of(self._wanted[0])
        if self._known & {(said_at, n), (said_at, n // 2)}:
            self._over(whole=True)
            return
        self._asked = READ

    def _part(self, data: bytes) -> StoredOximetry | None:
        self._file += data
        self._block += 1
        if data and len(self._file) < self._length:
            return None
        told = oximetry_of(bytes(self._file[: self._length]))
        whole = told is not None and told.device_said_at == said_at_of(self._wanted[0])
        self._over(whole)
        return told if whole else None

    def _over(self, whole: bool) -> None:
        """The file is closed; one that did not come whole is asked for once more, after the others."""
        name = self._wanted[0]
        self._reads[name] = self._reads.get(name, 0) + 1
        if not whole and self._reads[name] < MOST_READS:
            self._wanted.append(name)
        elif not whole:
            self.incomplete = True
        self._asked = CLOSE
        self._file.clear()


def files_of(told: Mapping[str, object]) -> list[str]:
    """Names in the answer to 14, oldest first as the ring lists them."""
    listed = told.get("FileList")
    return _NAME.findall(listed) if isinstance(listed, str) else []


def said_at_of(name: str) -> str | None:
    """ISO 8601 without zone; None for a name that is no time."""
    try:
        return datetime.strptime(name, "%Y%m%d%H%M%S").isoformat()  # noqa: DTZ007  as the ring says it
    except ValueError:
        return None


def oximetry_of(file: bytes) -> StoredOximetry | None:
    """What is in a file; None for one that is none, or of a version that is not known."""
    n = (len(file) - HEADER_BYTES) // RECORD.size
    if n < 1 or file[0] not in VERSIONS:
        return None
    year, month, day, hour, minute, second = struct.unpack_from("<HBBBBB", file, 2)
    (duration_s,) = struct.unpack_from("<H", file, 13)
    interval_s = round(duration_s / n)
    if interval_s not in INTERVALS_S:
        return None
    try:
        started = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  as the ring says it
    except ValueError:
        return None
    records = [RECORD.unpack_from(file, HEADER_BYTES + i * RECORD.size) for i in range(n)]
    if interval_s == 2 and n % 2 == 0 and records[0::2] == records[1::2]:
        records, interval_s = records[0::2], 4
    spo2 = tuple(None if one[0] in NO_SPO2 or one[0] > 100 else one[0] for one in records)
    pulse = tuple(None if one[1] in NO_PULSE or one[1] > FASTEST_BPM else one[1] for one in records)
    return StoredOximetry(spo2, pulse, float(interval_s), started.isoformat())
