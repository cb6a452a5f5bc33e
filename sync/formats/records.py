"""Entries: what each kind of record says, and how it is written. Pure.

``sync.formats.record_kinds.KINDS`` is the table. An entry is one flat object of canonical JSON: the fields of its kind
and the common fields that the journal adds (``COMMON``). Whoever writes must say exactly what the table has; whoever
reads keeps fields that are unknown to him, because signed bytes are never rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sync.formats.canonical import Json, NotCanonical, check, encode, good, loads
from sync.formats.field_types import TIME_FORM
from sync.formats.merkle import leaf_hash
from sync.formats.record_kinds import KINDS, Kind, kind_of

LARGEST_BODY_BYTES = 60_000
"""Below the 65,535 that a tlog-tiles entry bundle allows."""
SALT_BYTES = 16
COMMON = ("kind", "n", "at", "at_source", "boot", "mono_ms", "vehicle", "by", "visit", "encounter", "salt", "practice")
_COMMON_NAMES = frozenset(COMMON)
TIME_SOURCES = ("gnss", "ntp", "rtc")

_ABSENT = object()


class DraftRefused(ValueError):
    """A record that its kind's table does not allow: a fault of the caller."""


class EntryUnreadable(ValueError):
    """Bytes that can't be read as an entry: set aside, kept, read again after an upgrade."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before the journal gives it a place and a time.

    ``at`` is when it happened, the moment of committing when None; both clocks of the entry are moved to it.
    """

    kind: str
    fields: Mapping[str, Json]
    by: str | None = None
    visit: str | None = None
    encounter: str | None = None
    at: datetime | None = None

    def check(self) -> Kind:
        """:raises DraftRefused: unknown kind, missing, unknown or mistyped field, float or null."""
        kind = KINDS.get(self.kind)
        if kind is None:
            raise DraftRefused(f"kind {self.kind!r} is not in the table of sync/formats/record_kinds.py")
        if (self.at is None or self.at.tzinfo is not None) and _good_at_once(kind, self.fields):
            return kind
        faults = _faults(kind, self.fields)
        if self.at is not None and self.at.tzinfo is None:
            faults.append("at has no time zone")
        if faults:
            raise DraftRefused(f"{self.kind}: " + "; ".join(faults))
        try:
            check(dict(self.fields))
        except NotCanonical as fault:
            raise DraftRefused(f"{self.kind}: {fault}") from None
        return kind


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal. ``fields`` are those of its kind; ``body`` is what was signed."""

    n: int
    kind: str
    at: datetime
    at_source: str
    boot: int
    mono_ms: int
    vehicle: str
    fields: Mapping[str, Any]
    body: bytes = field(repr=False)
    by: str | None = None
    visit: str | None = None
    encounter: str | None = None
    practice: bool = False

    @property
    def leaf_hash(self) -> bytes:
        return leaf_hash(self.body)


class Stamp(NamedTuple):
    """What the journal adds to a draft."""

    n: int
    at: datetime
    at_source: str
    boot: int
    mono_ms: int
    vehicle: str
    salt: bytes = b""
    """``SALT_BYTES`` random bytes for a personal kind."""
    practice: bool = False


def write_entry(draft: Draft, stamp: Stamp) -> Entry:
    """The entry of a checked draft.

    :raises DraftRefused: the body is larger than ``LARGEST_BODY_BYTES``, or text has a lone surrogate.
    """
    at = to_the_millisecond(stamp.at)
    said: dict[str, Any] = {
        **draft.fields,
        "kind": draft.kind,
        "n": stamp.n,
        "at": format_time(at),
        "at_source": stamp.at_source,
        "boot": stamp.boot,
        "mono_ms": stamp.mono_ms,
        "vehicle": stamp.vehicle,
    }
    if draft.by is not None:
        said["by"] = draft.by
    if draft.visit is not None:
        said["visit"] = draft.visit
    if draft.encounter is not None:
        said["encounter"] = draft.encounter
    if stamp.salt:
        said["salt"] = stamp.salt.hex()
    if stamp.practice:
        said["practice"] = True
    try:
        body = encode(said)
    except NotCanonical as fault:
        raise DraftRefused(f"{draft.kind}: {fault}") from None
    if len(body) > LARGEST_BODY_BYTES:
        raise DraftRefused(f"{draft.kind}: {len(body)} bytes; store what is large as a recording and name its SHA-256")
    return Entry(
        stamp.n,
        draft.kind,
        at,
        stamp.at_source,
        stamp.boot,
        stamp.mono_ms,
        stamp.vehicle,
        dict(draft.fields),
        body,
        draft.by,
        draft.visit,
        draft.encounter,
        stamp.practice,
    )


def read_entry(body: bytes, n: int | None = None) -> Entry:
    """The entry that ``body`` says, of whatever kind; fields that the table does not have are kept.

    :param n: the place where it was found.
    :raises EntryUnreadable: not canonical JSON, a common or known field missing or mistyped, or another place.
    """
    said = read_said(body, n)
    return Entry(
        said["n"],
        said["kind"],
        parse_time(said["at"]),
        said["at_source"],
        said["boot"],
        said["mono_ms"],
        said["vehicle"],
        {key: value for key, value in said.items() if key not in _COMMON_NAMES},
        body,
        said.get("by"),
        said.get("visit"),
        said.get("encounter"),
        said.get("practice", False),
    )


def read_said(body: bytes, n: int | None = None) -> dict[str, Any]:
    """The object that an entry is, with the common fields and those of its kind held against the table.

    :raises EntryUnreadable: see ``read_entry``
    """
    try:
        said = loads(body)
    except NotCanonical as fault:
        raise EntryUnreadable(str(fault)) from None
    faults = _faults(_COMMON_FIELDS, said, closed=False)
    kind = KINDS.get(str(said.get("kind")))
    if kind is not None:
        faults += _faults(kind, said, closed=False)
        if kind.personal and not said.get("salt"):
            faults.append("salt is missing")
    if n is not None and said.get("n") != n:
        faults.append(f"it says place {said.get('n')!r} but stands at {n}")
    if faults:
        raise EntryUnreadable(f"{said.get('kind')!r}: " + "; ".join(faults))
    return said


_COMMON_FIELDS = kind_of(
    "common",
    kind="text",
    n="integer",
    at="time",
    at_source="text",
    boot="integer",
    mono_ms="integer",
    vehicle="text",
    by="text?",
    visit="text?",
    encounter="text?",
    salt="text?",
    practice="boolean?",
)


@lru_cache(maxsize=256)  # the entries of one commit share their moment
def format_time(at: datetime) -> str:
    """UTC with milliseconds: 2026-03-01T08:15:00.250Z."""
    return at.astimezone(UTC).isoformat("T", "milliseconds")[:-6] + "Z"


def parse_time(text: str) -> datetime:
    """:raises ValueError: not of the form that ``format_time`` writes."""
    if not TIME_FORM.fullmatch(text):
        raise ValueError(f"{text!r} is not a UTC time with milliseconds")
    return datetime.fromisoformat(text)


def to_the_millisecond(at: datetime) -> datetime:
    """UTC, cut to what an entry says of a time."""
    over = at.microsecond % 1000
    if not over and at.tzinfo is UTC:
        return at
    return (at.replace(microsecond=at.microsecond - over) if over else at).astimezone(UTC)


def _good_at_once(kind: Kind, said: Mapping[str, object]) -> bool:
    """Whether a draft is seen to be good in one look; else it is looked at closely, to say where and why not."""
    here = 0
    for name, exact, optional, fits in kind.checks:
        value = said.get(name, _ABSENT)
        if value is _ABSENT:
            if not optional:
                return False
            continue
        here += 1
        if type(value) is exact:
            if exact is not str and exact is not bool and not good(value, 1):
                return False
        elif not fits(value) or not good(value, 1):
            return False
    return here == len(said)


def _faults(kind: Kind, said: Mapping[str, object], closed: bool = True) -> list[str]:
    faults = []
    for name, exact, optional, fits in kind.checks:
        value = said.get(name, _ABSENT)
        if type(value) is exact:
            continue
        if value is _ABSENT:
            if not optional:
                faults.append(f"{name} is missing")
        elif not fits(value):
            faults.append(f"{name} is not of type {kind.fields[name].removesuffix('?')}")
    if closed and not said.keys() <= kind.fields.keys():
        faults += [f"{name} is not in the table" for name in said if name not in kind.fields and name not in COMMON]
        faults += [f"{name} is a common field" for name in said if name in COMMON]
    return faults
