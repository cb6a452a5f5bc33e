"""The memory of a Contec CMS50 (protocol V7): what it recorded by itself, one value a second. Pure.

The memory is ordered by user and segment, both from 0. Frames as in ``devices.drivers.contec_cms50_v7``; what is asked
(command, user, segment) and what is answered, data after the top bits are put back:

====  ==========================  ====================================================================================
ask   answer                      its data
====  ==========================  ====================================================================================
AD    10                          number of users
A3    0A                          user, number of segments; a device that keeps one only says 1
A5    07 and 12                   user, segment, century, year, month, day; user, segment, hour, minute, second, 0;
                                  zeros from a device that keeps no time
A4    08                          user, segment, length in bytes u32, low byte first
A6    0F, as many as it takes     three times SpO2, pulse rate; what is beyond the length is filling
      or 09                       SpO2, pulse rate, perfusion index x 100 u16: a device that keeps that index, too
A7    0C                          stop; also asked after the last value
any   0B                          the command, and why not: 03 it is recording, 05 it does not know that command ...
====  ==========================  ====================================================================================

SpO2 0, 127 and above 100, pulse 0 and 255 are no values. An answer takes at most a second; while values come nothing
else may be asked. AE deletes and B1, B2 set the clock: never sent. Nothing says that a byte is spoiled (the document:
"assumes that data sending is correct"), so a segment is read until it came twice alike, and told then.

Source: Contec, "Communication protocol of pulse oximeter V7.0" (2010), tables 2 and 7, notes 1 to 4, section 3.4
(in albertcbraun/CMS50FW). One value a second: bmartin427/CMS50 and a public reader of the CMS50F hold it so; a reader
of the CMS50EW takes three seconds: hold the length against the clock once. Not tried on hardware by us.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import datetime

from devices.driver import Write
from devices.readings import StoredOximetry

USERS, SEGMENTS, LENGTH, START_TIME, VALUES, STOP_VALUES = 0xAD, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7
USERS_TOLD, SEGMENTS_TOLD, LENGTH_TOLD, DATE_TOLD, TIME_TOLD = 0x10, 0x0A, 0x08, 0x07, 0x12
THREE_VALUES, VALUE_WITH_PERFUSION = 0x0F, 0x09
FEEDBACK, IDLE = 0x0B, 0x0C
MEMORY_FRAMES = frozenset(
    (USERS_TOLD, SEGMENTS_TOLD, LENGTH_TOLD, DATE_TOLD, TIME_TOLD, THREE_VALUES, VALUE_WITH_PERFUSION, FEEDBACK, IDLE)
)
RECORD_BYTES = {THREE_VALUES: 2, VALUE_WITH_PERFUSION: 4}
INTERVAL_S = 1.0
NO_SPO2, NO_PULSE = (0, 0x7F), (0, 0xFF)

ANSWER_WITHIN_S = 1.0
MOST_USERS, MOST_SEGMENTS = 8, 64
MOST_BYTES = 4 * 48 * 3600
"""Two days with perfusion index; the devices keep one."""
MOST_READS = 5
"""Of one segment, until two in a row are alike."""

Known = Iterable[tuple[str | None, int]]
"""Start and number of values of what is kept here already."""


def command(code: int, *said: int) -> bytes:
    """A host's frame: nine bytes. What is said must be below 0x80, as users and segments are."""
    return bytes((0x7D, 0x81, code)) + bytes(byte | 0x80 for byte in said).ljust(6, b"\x80")


STOP_STORED = command(STOP_VALUES)
QUESTIONS = tuple(command(code)[:3] for code in (USERS, SEGMENTS, LENGTH, START_TIME, VALUES))
"""Beginnings of what may be sent."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Asked once; ``answers``: the types of frames that answer it, one of each; empty: all values of a segment."""

    payload: bytes
    answers: frozenset[int] = frozenset()

    @property
    def code(self) -> int:
        return self.payload[2]


_Said = dict[int, bytes]
"""Frame type -> its data."""
_Script = Generator[_Question, _Said | None, None]
"""Questions out; in comes what was said, None: it was refused, or nothing came in time."""


class Memory:
    """One look through the memory. Frames in by ``take``; what to send comes out of every call.

    What comes is put together whoever asked for it; ``begin`` asks for everything but what is ``known``.
    """

    def __init__(self) -> None:
        self._script: _Script | None = None
        self._question: _Question | None = None
        self._said: _Said = {}
        self._silent_s = 0.0
        self._refused = False
        self._segment = _Segment()
        self.incomplete = False
        """A segment could not be read twice alike."""

    @property
    def done(self) -> bool:
        """Nothing is being asked: live values may be started."""
        return self._question is None

    def begin(self, known: Known) -> list[Write]:
        self._segment = _Segment()
        self.incomplete = False
        self._script = self._look_through(frozenset(known))
        return self._ask(next(self._script))

    def end(self) -> None:
        self._script = self._question = None

    def take(self, kind: int, data: bytes) -> tuple[StoredOximetry | None, list[Write]]:
        """One frame: a stretch that is whole now, and what is to be sent."""
        told = self._segment.take(kind, data)
        question = self._question
        if question is None:
            return told, []
        if kind == FEEDBACK and data[0] | 0x80 == question.code:
            self._refused = True
            return told, self._go_on(None)
        if question.answers:
            if kind in question.answers:
                self._silent_s = 0.0
                self._said[kind] = data
                if len(self._said) == len(question.answers):
                    return told, self._go_on(self._said)
        elif kind in RECORD_BYTES:
            self._silent_s = 0.0
            if self._segment.whole:
                return told, self._go_on({})
        return told, []

    def tick(self, elapsed_s: float) -> list[Write]:
        self._silent_s += elapsed_s
        return [] if self._question is None or self._silent_s < ANSWER_WITHIN_S else self._go_on(None)

    def _ask(self, question: _Question) -> list[Write]:
        self._question, self._said, self._silent_s, self._refused = question, {}, 0.0, False
        return [Write(question.payload)]

    def _go_on(self, said: _Said | None) -> list[Write]:
        if self._script is None:
            return []
        try:
            return self._ask(self._script.send(said))
        except StopIteration:
            self.end()
            return []

    def _look_through(self, known: frozenset[tuple[str | None, int]]) -> _Script:
        said = yield _Question(command(USERS), frozenset((USERS_TOLD,)))
        if said is None and not self._refused:
            return
        users = min(said[USERS_TOLD][0], MOST_USERS) if said else 1
        for user in range(users):
            said = yield _Question(command(SEGMENTS, user), frozenset((SEGMENTS_TOLD,)))
            if said is None:
                return
            for segment in range(min(said[SEGMENTS_TOLD][1], MOST_SEGMENTS)):
                yield from self._read(user, segment, known)

    def _read(self, user: int, segment: int, known: frozenset[tuple[str | None, int]]) -> _Script:
        """One segment, until it came twice alike; not at all when it is empty, known, or the device is recording it."""
        for _ in range(MOST_READS):
            started = yield _Question(command(START_TIME, user, segment), frozenset((DATE_TOLD, TIME_TOLD)))
            length = yield _Question(command(LENGTH, user, segment), frozenset((LENGTH_TOLD,)))
            n_bytes = self._segment.length
            if length is None or not n_bytes:
                return
            said_at = _moment(started[DATE_TOLD], started[TIME_TOLD]) if started else None
            if any((said_at, n_bytes // each) in known for each in RECORD_BYTES.values()):
                return
            read = yield _Question(command(VALUES, user, segment))
            if self._refused:
                return
            yield _Question(STOP_STORED, frozenset((IDLE,)))
            if read is not None and self._segment.told:
                return
        self.incomplete = True


class _Segment:
    """The segment that is coming in, and the one before it: told once both are alike."""

    def __init__(self) -> None:
        self._date = self._time = b""
        self._key = b""
        self.length = 0
        self._record_bytes = 0
        self._values = bytearray()
        self._before: tuple[bytes, str | None, bytes] | None = None
        self.told = False

    @property
    def whole(self) -> bool:
        return 0 < self.length <= len(self._values)

    def take(self, kind: int, data: bytes) -> StoredOximetry | None:
        if kind == DATE_TOLD:
            self._date = data
        elif kind == TIME_TOLD:
            self._time = data
        elif kind == LENGTH_TOLD:
            self._begin(data)
        elif kind in RECORD_BYTES and self.length and not self.whole:
            return self._add(kind, data)
        return None

    def _begin(self, data: bytes) -> None:
        self._key = data[:2]
        n_bytes = int.from_bytes(data[2:6], "little")
        self.length = n_bytes if n_bytes <= MOST_BYTES else 0
        self._record_bytes = 0
        self._values.clear()
        self.told = False

    def _add(self, kind: int, data: bytes) -> StoredOximetry | None:
        each = RECORD_BYTES[kind]
        if self._record_bytes not in (0, each):
            self.length = 0  # two kinds of frames in one segment: one of them is spoiled
            return None
        self._record_bytes = each
        self._values += data
        if not self.whole:
            return None
        now = (self._key, self._started(), bytes(self._values[: self.length // each * each]))
        if now != self._before:
            self._before = now
            return None
        self._before, self.told = None, True
        return _oximetry(now[2], each, now[1])

    def _started(self) -> str | None:
        same = self._date[:2] == self._time[:2] == self._key
        return _moment(self._date, self._time) if same else None


def _moment(date: bytes, time: bytes) -> str | None:
    """ISO 8601 without zone; None where the device said none."""
    century, year, month, day = date[2:6]
    hour, minute, second = time[2:5]
    try:
        return datetime(century * 100 + year, month, day, hour, minute, second).isoformat()  # noqa: DTZ001  as shown
    except ValueError:
        return None


def _oximetry(values: bytes, each: int, said_at: str | None) -> StoredOximetry:
    spo2 = tuple(None if said in NO_SPO2 or said > 100 else said for said in values[0::each])
    pulse = tuple(None if said in NO_PULSE else said for said in values[1::each])
    return StoredOximetry(spo2, pulse, INTERVAL_S, said_at)
