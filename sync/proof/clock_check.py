"""Time is checked, not trusted: wall time minus monotonic time within each boot of a vehicle. Pure.

Within one boot the difference is constant within 5 s unless a ``clock/1`` entry says by how much the clock was set. A
correction declared with source gnss or ntp moves what the same boot wrote before it. Any other step, declared by hand
or not declared at all, sends the visits of that boot to a person; their time is then counted by monotonic time.

Sums are whole milliseconds of any size, as an entry may say any number; a time that they move out of ``FIRST_TIME`` to
``LAST_TIME`` stays at that border and is looked at by a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sync.formats.records import Entry

AGREES_MS = 5_000
DECLARED_WITHIN_MS = 60_000
"""What was written between a step and its declaration stands before the declaration, on the new time already."""
TRUSTED = ("gnss", "ntp")
FIRST_TIME = datetime(2, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(9998, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
"""A year from both ends of the calendar, so that nothing that is added to a time leaves it."""
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS, _LAST_MS = ((border - _EPOCH) // _MILLISECOND for border in (FIRST_TIME, LAST_TIME))


@dataclass(frozen=True, slots=True)
class ClockCheck:
    """What was found about the clock over the entries of a range.

    :ivar review: words of ``sync.proof.coverage.REVIEW_REASONS``
    :ivar flags: words of ``sync.proof.coverage.FLAGS``
    :ivar started_at: by boot, when its boot/1 entry was written, corrected
    """

    review: frozenset[str]
    flags: frozenset[str]
    started_at: Mapping[int, datetime]
    _moved_ms: Mapping[int, int] = field(repr=False)

    def at(self, entry: Entry) -> datetime:
        """When ``entry`` was written, corrected."""
        return self.corrected(entry, entry.at)

    def corrected(self, entry: Entry, at: datetime) -> datetime:
        """A moment that ``entry`` says, moved like the entry and held between ``FIRST_TIME`` and ``LAST_TIME``."""
        return _moved_to(at, self._moved_ms.get(entry.n, 0))

    def keeps(self, entry: Entry, since: datetime, until: datetime) -> bool:
        """Whether ``corrected`` changes no moment of ``entry`` from ``since`` to ``until``."""
        return not self._moved_ms.get(entry.n) and since >= FIRST_TIME and until <= LAST_TIME


def check_clock(entries: Sequence[Entry]) -> ClockCheck:
    """:param entries: those that are shown of a range of one journal, in the order of their places"""
    review, flags = set(_boots_counted_through(entries)), set[str]()
    moved: dict[int, int] = {}
    started_at: dict[int, datetime] = {}
    last: datetime | None = None
    for boot, written in _by_boot(entries).items():
        found = _Boot(written)
        moved |= found.moved
        review |= found.review
        flags |= found.flags
        times = [_moved_to(entry.at, found.moved[entry.n]) for entry in written]
        if any(not _FIRST_MS <= _ms(entry.at) + found.moved[entry.n] <= _LAST_MS for entry in written):
            review.add("clock_stepped")
        if last is not None and min(times) < last - AGREES_MS * _MILLISECOND:
            review.add("clock_stepped")
            flags.add("clock_set_back")
        last = max(times) if last is None else max(last, *times)
        if written[0].kind == "boot/1":
            started_at[boot] = times[0]
    return ClockCheck(frozenset(review), frozenset(flags), started_at, moved)


def _boots_counted_through(entries: Sequence[Entry]) -> list[str]:
    """The boot counter rises by one, at a boot/1 entry, and not otherwise."""
    before: int | None = None
    for entry in entries:
        begins = entry.kind == "boot/1"
        if begins and before is not None and entry.boot != before + 1:
            return ["boots_missing"]
        if not begins and entry.boot != before:
            return ["boots_missing"]
        before = entry.boot
    return []


def _by_boot(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    grouped: dict[int, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.boot, []).append(entry)
    return grouped


@dataclass(frozen=True, slots=True)
class _Step:
    """A declared step: ``offset_ms`` is wall minus monotonic time after it."""

    entry: Entry
    by_ms: int
    offset_ms: int

    @property
    def trusted(self) -> bool:
        return self.entry.fields["source"] in TRUSTED


class _Boot:
    """The entries of one boot on its levels: before the first declared step, after it, after the second ..."""

    def __init__(self, written: Sequence[Entry]) -> None:
        self.review: set[str] = set()
        self.flags: set[str] = set()
        self._first_ms = _offset_ms(written[0])
        self._steps: list[_Step] = []
        offset_ms = self._first_ms
        for entry in written:
            if entry.kind == "clock/1":
                offset_ms += entry.fields["seconds_ms"]
                self._steps.append(_Step(entry, entry.fields["seconds_ms"], offset_ms))
        self._flag_declared()
        self.moved = {}
        behind = 0
        for entry in written:
            behind += entry.kind == "clock/1"
            self.moved[entry.n] = self._moved(entry, behind)

    def _flag_declared(self) -> None:
        for step in self._steps:
            if abs(step.by_ms) <= AGREES_MS:
                continue
            if not step.trusted:
                self.review.add("clock_stepped")
            self.flags.add("clock_corrected" if step.trusted else "clock_set_by_hand")
            if step.by_ms < 0:
                self.flags.add("clock_set_back")

    def _moved(self, entry: Entry, behind: int) -> int:
        """Milliseconds by which the times of ``entry`` are moved; ``behind``: declared steps that stand before it."""
        level = self._level(entry, behind)
        if level is None:
            self.review.add("clock_stepped")
            if _offset_ms(entry) < self._offset_ms(behind):
                self.flags.add("clock_set_back")
            trusted = sum(step.by_ms for step in self._steps if step.trusted)
            return self._first_ms + trusted - _offset_ms(entry)
        later = sum(step.by_ms for step in self._steps[level:] if step.trusted)
        by_hand = sum(step.by_ms for step in self._steps[:level] if not step.trusted)
        return later - by_hand

    def _level(self, entry: Entry, behind: int) -> int | None:
        if abs(_offset_ms(entry) - self._offset_ms(behind)) <= AGREES_MS:
            return behind
        if behind < len(self._steps):
            following = self._steps[behind]
            soon = following.entry.mono_ms - entry.mono_ms <= DECLARED_WITHIN_MS
            if soon and abs(_offset_ms(entry) - following.offset_ms) <= AGREES_MS:
                return behind + 1
        return None

    def _offset_ms(self, level: int) -> int:
        return self._steps[level - 1].offset_ms if level else self._first_ms


def _offset_ms(entry: Entry) -> int:
    """Wall time minus monotonic time."""
    return _ms(entry.at) - entry.mono_ms


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def _moved_to(at: datetime, by_ms: int) -> datetime:
    if not by_ms and FIRST_TIME <= at <= LAST_TIME:
        return at
    return _EPOCH + min(max(_ms(at) + by_ms, _FIRST_MS), _LAST_MS) * _MILLISECOND
