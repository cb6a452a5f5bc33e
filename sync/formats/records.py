"""Entries: what each kind of record says, and how it is written. Pure.

``KINDS`` is the table. An entry is one flat object of canonical JSON: the fields of its kind and the common fields that
the journal adds (``COMMON``). Whoever writes must say exactly what the table has; whoever reads keeps fields that are
unknown to him, because signed bytes are never rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sync.formats.canonical import Json, NotCanonical, check, encode, loads
from sync.formats.field_types import FIELD_TYPES, TIME_FORM
from sync.formats.merkle import leaf_hash

LARGEST_BODY_BYTES = 60_000
"""Below the 65,535 that a tlog-tiles entry bundle allows."""
SALT_BYTES = 16
COMMON = ("kind", "n", "at", "at_source", "boot", "mono_ms", "vehicle", "by", "visit", "encounter", "salt", "practice")
_COMMON_NAMES = frozenset(COMMON)
TIME_SOURCES = ("gnss", "ntp", "rtc")

_EXACTLY = {"text": str, "integer": int, "boolean": bool, "object": dict, "list": list}
"""Types of which every value of exactly this class is one."""


class _Nothing:
    """The class of no value at all."""


_ABSENT = object()


class DraftRefused(ValueError):
    """A record that its kind's table does not allow: a fault of the caller."""


class EntryUnreadable(ValueError):
    """Bytes that can't be read as an entry: set aside, kept, read again after an upgrade."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record in one schema version: name "reading/1"."""

    name: str
    fields: Mapping[str, str]
    personal: bool = False
    """Carries a salt, so that its leaf hash tells a stranger nothing."""
    checks: tuple[tuple[str, type, bool, Callable[[object], bool]], ...] = field(default=(), repr=False)
    """(field, the type that is good at once, whether it may be left out, whether a value is of its type)."""


def _kind(name: str, /, personal: bool = False, **fields: str) -> Kind:
    checks = []
    for key, wanted in fields.items():
        of_type = wanted.removesuffix("?")
        checks.append((key, _EXACTLY.get(of_type, _Nothing), wanted != of_type, FIELD_TYPES[of_type]))
    return Kind(name, fields, personal, tuple(checks))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # the vehicle itself
        _kind("boot/1", software="text"),
        _kind("anchor/1", size="integer", root="sha256", receipt_sha256="sha256"),
        _kind("clock/1", seconds_ms="integer", source="text"),
        _kind("settings_changed/1", what="text", facts="object?"),
        _kind("device_event/1", device="text", driver="text", event="text", facts="object"),
        _kind(
            "device_added/1",
            device="text",
            driver="text",
            link="text",
            place="text",
            title="text",
            source="text",
            identity="object",
            evidence="list",
        ),
        _kind("device_removed/1", device="text", reason="text"),
        _kind("device_care/1", device="text", what="text", done_on="date?", due_on="date?", lot="text?", title="text?"),
        _kind("network/1", facts="object"),
        _kind("access/1", action="text", what="text"),
        _kind("recording_evicted/1", sha256="sha256", reason="text"),
        _kind("pruned/1", first="integer", last="integer", count="integer", reason="text"),
        _kind("key_changed/1", key="text", old_signature="text", new_signature="text"),
        # patrol
        _kind("duty/1", visit_id="text?", person="text", role="text", name="text", on="boolean"),
        _kind(
            "track/1",
            started_at="time",
            lat_e7="integer",
            lon_e7="integer",
            accuracy_m="integer",
            satellites="integer",
            steps="steps",
            odometer_m="integer?",
            odometer_end_m="integer?",
            cells="list?",
            ignition="boolean?",
            flags="list?",
        ),
        _kind(
            "visit_opened/1",
            visit_id="text",
            village="text",
            village_name="text",
            township="text",
            proposed_by="text",
            crew="crew",
            arrived_at="time",
        ),
        _kind(
            "visit_closed/1",
            visit_id="text",
            arrived_at="time",
            departed_at="time",
            dwell_s="integer",
            encounters="integer",
        ),
        _kind("outreach/1", visit_id="text", what="text", people="integer?"),
        _kind("village_confirmed/1", visit_id="text", village="text", person="text", name="text", means="text"),
        _kind(
            "link_quality/1",
            visit_id="text",
            village="text",
            started_at="time",
            duration_s="integer",
            samples="integer",
            figures="object",
            cells="list",
            technology="text?",
            lat_e3="integer?",
            lon_e3="integer?",
        ),
        # clinic
        _kind(
            "patient/1",
            personal=True,
            patient="text",
            name="text",
            sex="text",
            born_on="date?",
            id_number_sealed="text?",
            id_hash="text?",
            id_last4="text?",
            ethnicity_code="text?",
            address="text?",
            phone="text?",
            pinyin="text?",
            source="text",
        ),
        _kind("encounter/1", personal=True, encounter_id="text", patient="text", purpose="text"),
        _kind("encounter_closed/1", encounter_id="text", opened_at="time?"),
        _kind(
            "reading/1",
            personal=True,
            reading="text",
            patient="text?",
            device="text",
            driver="text",
            type="text",
            values="object",
            codes="object?",
            device_said_at="text?",
            clock_offset_s="integer?",
            serial="text?",
            sequence="integer?",
            expired_lot="text?",
            by_hand="boolean",
        ),
        _kind("reading_confirmed/1", personal=True, reading="text", patient="text", specimen="text?"),
        _kind("reading_rejected/1", reading="text", reason="text"),
        _kind("specimen/1", personal=True, specimen="text", number="text", material="text", patient="text"),
        _kind("specimen_discarded/1", specimen="text", reason="text"),
        _kind(
            "recording/1",
            personal=True,
            sha256="sha256",
            bytes="integer",
            media_type="text",
            what="text",
            patient="text?",
            device="text?",
            started_at="time",
            duration_ms="integer",
            facts="object",
        ),
        _kind("recording_assigned/1", personal=True, sha256="sha256", patient="text"),
        _kind(
            "image_measurement/1",
            personal=True,
            measurement="text",
            sha256="sha256",
            patient="text?",
            tool="text",
            points_millipixel="list",
            sizes="object",
            who="text?",
        ),
        _kind(
            "dicom_delivery/1",
            sha256="sha256",
            destination="text",
            state="text",
            instance="text",
            study="text",
            transfer_syntax="text?",
            reason="text?",
        ),
        _kind(
            "screening_result/1",
            personal=True,
            result="text",
            patient="text",
            rule="text",
            rule_version="text",
            inputs="object",
            code="text",
            level="text",
            advice="text?",
        ),
        _kind(
            "follow_up_form/1",
            personal=True,
            form="text",
            form_version="text",
            patient="text",
            answers="object",
            next_on="date?",
        ),
        # consultation
        _kind(
            "consultation/1",
            personal=True,
            consultation="text",
            patient="text",
            urgency="text",
            fields="object",
            consent="object",
        ),
        _kind("consultation_changed/1", consultation="text", state="text", who="text?", reason="text?"),
        _kind(
            "consultation_rung/1",
            consultation="text",
            before="text",
            after="text",
            reason="text",
            figures="object",
        ),
        _kind(
            "opinion/1",
            personal=True,
            consultation="text",
            specialist="text",
            specialist_name="text",
            institution="text",
            opinion="object",
            signed_text="text",
            signature="text",
            public_key="text",
            signed_at="time",
        ),
        _kind(
            "decision/1",
            personal=True,
            consultation="text",
            decision="text",
            plan="text",
            by_name="text",
        ),
        # any record may be corrected; the original stays
        _kind(
            "correction/1",
            personal=True,
            corrects="integer",
            corrects_kind="text?",
            reason="text",
            fields="object",
        ),
    )
}


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
            raise DraftRefused(f"kind {self.kind!r} is not in the table of sync/formats/records.py")
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


@dataclass(frozen=True, slots=True)
class Stamp:
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


_COMMON_FIELDS = _kind(
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
    return (at.replace(microsecond=at.microsecond - over) if over else at).astimezone(UTC)


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
