"""What the entries say about each visit, worked out once and kept: ``sync.proof.visit_proof`` over the county's tables.

Kept until the village, one of its neighbours or, while the visit is open, the log has changed. Rules, cosignatures and
decisions are not part of it and are put beside it whenever it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import lru_cache
from hashlib import sha256
from itertools import permutations
from typing import Any

from sqlalchemy import ColumnElement, func, select, update

from sync.county.database import Database, Row
from sync.county.interpretation import reading_lock
from sync.county.registry import Registry
from sync.county.schema import checkpoints, entries, entry_facts, logs, visit_facts
from sync.formats.notes import Note
from sync.formats.records import Entry, format_time, read_entry
from sync.proof.presence import Stay
from sync.proof.registry_state import RegistryState
from sync.proof.visit_pictures import VisitPicture
from sync.proof.visit_proof import Bracket, Shift, VisitEvidence, evidence_of_visit
from sync.proof.visit_track import PROOF_KINDS
from sync.proof.visit_witnesses import Witness

_READING = 2
"""Raise it when ``sync.proof.visit_proof`` finds otherwise than before; all visits are then worked out again."""


@dataclass(frozen=True, slots=True)
class KeptVisit:
    """:ivar bracket: ``sealed_at`` is None while no cosigned checkpoint covers the visit"""

    evidence: VisitEvidence
    bracket: Bracket


class VisitFactsStore:
    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry
        self._areas: tuple[int, dict[str, str]] = (-1, {})

    def get(self, origin: str, visit: str, kept: Row, state: RegistryState) -> KeptVisit | None:
        """The facts of a visit, as kept or worked out anew.

        :param kept: its row of ``visit_facts``, of which all is None when there is none, and ``interpreted`` of its log
        :param state: the registry, asked once for all visits of a table
        :returns: None when its opening is not among what was read
        """
        if kept["evidence"] is None or not (kept["closed"] or kept["as_of"] == kept["interpreted"]):
            return self.work_out(origin, visit)
        evidence = _read(kept["evidence"])
        if kept["areas"] != self._areas_of(evidence.named, state):
            return self.work_out(origin, visit)
        bracket = Bracket(kept["known_at"], kept["sealed_at"])
        if kept["closed"] and kept["sealed_at"] is None:
            bracket = self._seal(origin, visit, evidence.last, bracket)
        return KeptVisit(evidence, bracket)

    def work_out(self, origin: str, visit: str) -> KeptVisit | None:
        """From the stored entries, and kept unless something was read meanwhile."""
        state = self._interpreted(origin)
        shown, places = self._range(origin, visit)
        openings = (one for one in shown if one.kind == "visit_opened/1" and one.fields["visit_id"] == visit)
        opened = next(openings, None)
        if opened is None:
            return None
        registered = self._registry.state()
        areas = self._areas_of(opened.fields["village"], registered)
        villages = registered.villages_around(opened.fields["village"])
        seen = {entry.n for entry in shown}
        evidence = evidence_of_visit(visit, shown, [n for n in places if n not in seen], villages, origin=origin)
        closed = evidence.closed_at is not None
        sealed = self._sealed_at(origin, evidence.last) if closed else None
        bracket = Bracket(self._known_at(origin, shown, opened.n), sealed)
        row = {"origin": origin, "visit": visit, "day": evidence.day.isoformat(), "areas": areas, "as_of": state}
        row |= {"closed": closed, "known_at": bracket.known_at, "sealed_at": bracket.sealed_at}
        with self._database.write(reading_lock(origin)) as connection:
            interpreted = connection.execute(select(logs.c.interpreted).where(logs.c.origin == origin)).scalar()
            if interpreted == state:
                written = json.dumps(write_evidence(evidence), ensure_ascii=False)
                self._database.upsert(connection, visit_facts, [{**row, "evidence": written}])
        return KeptVisit(evidence, bracket)

    def _areas_of(self, village: str, state: RegistryState) -> str:
        """Names the entries of the registry that a verdict about this village takes."""
        known = self._areas
        if known[0] != state.villages_version:
            known = self._areas = state.villages_version, _digests(state.village_entries())
        return known[1].get(village, _NO_AREAS)

    def _first(self, wanted: ColumnElement[bool]) -> int | None:
        """The first place of an entry that was read."""
        row = self._database.row(select(func.min(entry_facts.c.n).label("n")).where(wanted))
        return row["n"] if row else None

    def _interpreted(self, origin: str) -> int:
        row = self._database.row(select(logs.c.interpreted).where(logs.c.origin == origin))
        return row["interpreted"] if row else 0

    def _range(self, origin: str, visit: str) -> tuple[list[Entry], range]:
        """The entries of the visit's range that proofs may show, and all its places."""
        of_log = entry_facts.c.origin == origin
        about = of_log & (entry_facts.c.visit == visit)
        opened = self._first(about & (entry_facts.c.kind == "visit_opened/1"))
        if opened is None:
            return [], range(0)
        closed = self._first(about & (entry_facts.c.kind == "visit_closed/1") & (entry_facts.c.n > opened))
        boot = select(func.max(entry_facts.c.n).label("n"))
        boot = boot.where(of_log, entry_facts.c.kind == "boot/1", entry_facts.c.n <= opened)
        first = self._database.row(boot)
        first_n = first["n"] if first and first["n"] is not None else opened
        last_n = closed if closed is not None else self._interpreted(origin) - 1
        both = entry_facts.join(entries, (entries.c.origin == entry_facts.c.origin) & (entries.c.n == entry_facts.c.n))
        shown = (
            select(entries.c.n, entries.c.body)
            .select_from(both)
            .where(of_log, entry_facts.c.n.between(first_n, last_n), entry_facts.c.kind.in_(sorted(PROOF_KINDS)))
            .order_by(entries.c.n)
        )
        bodies = self._database.rows(shown)
        return [read_entry(row["body"], row["n"]) for row in bodies], range(first_n, last_n + 1)

    def _known_at(self, origin: str, shown: Sequence[Entry], opened: int) -> datetime | None:
        """T1: when the county gave the very receipt that the last anchor before the opening names."""
        anchors = [entry.fields for entry in shown if entry.kind == "anchor/1" and entry.n < opened]
        if not anchors:
            return None
        named = select(checkpoints.c.root, checkpoints.c.note, checkpoints.c.cosigned_at)
        row = self._database.row(named.where(checkpoints.c.origin == origin, checkpoints.c.size == anchors[-1]["size"]))
        if row is None or row["cosigned_at"] is None or row["root"].hex() != anchors[-1]["root"]:
            return None
        return _whole(row["cosigned_at"]) if _is_receipt(row["note"], anchors[-1]["receipt_sha256"]) else None

    def _sealed_at(self, origin: str, last: int) -> datetime | None:
        """T2: when the county first cosigned a checkpoint over the place ``last``."""
        covering = select(func.min(checkpoints.c.cosigned_at).label("at")).where(
            checkpoints.c.origin == origin, checkpoints.c.size > last, checkpoints.c.cosigned_at.is_not(None)
        )
        row = self._database.row(covering)
        return _whole(row["at"]) if row and row["at"] is not None else None

    def _seal(self, origin: str, visit: str, last: int, bracket: Bracket) -> Bracket:
        sealed = self._sealed_at(origin, last)
        if sealed is None:
            return bracket
        at = (visit_facts.c.origin == origin) & (visit_facts.c.visit == visit)
        with self._database.write(reading_lock(origin)) as connection:
            connection.execute(update(visit_facts).where(at).values(sealed_at=sealed))
        return Bracket(bracket.known_at, sealed)


def _is_receipt(note: bytes, receipt_sha256: str) -> bool:
    """Whether two lines of ``note`` behind its text are the receipt of this hash: the vehicle's and the county's."""
    read = Note.parse(note)
    receipts = (f"{read.text}\n{own.line()}{ours.line()}" for own, ours in permutations(read.signatures, 2))
    return any(sha256(receipt.encode()).hexdigest() == receipt_sha256 for receipt in receipts)


def _whole(at: datetime) -> datetime:
    """Cosignatures say whole seconds."""
    return at.replace(microsecond=0)


def _digests(listed: Any) -> dict[str, str]:
    """By village code: the places of its entries and of its neighbours'."""
    found = {}
    for code, versions in listed.items():
        near = sorted({one for entry in versions for one in entry.fields["neighbours"] if one in listed})
        own = [entry.n for entry in versions]
        found[code] = _digest((*own, *(entry.n for one in near for entry in listed[one])))
    return found


def _digest(places: Iterable[int]) -> str:
    return sha256(f"{_READING}:{','.join(map(str, places))}".encode()).hexdigest()


_NO_AREAS = _digest(())


# as JSON --------------------------------------------------------------------------------------------------------------


def write_evidence(evidence: VisitEvidence) -> dict[str, Any]:
    return {
        "visit": evidence.visit,
        "vehicle": evidence.vehicle,
        "village": evidence.village,
        "named": evidence.named,
        "day": evidence.day.isoformat(),
        "opened_at": format_time(evidence.opened_at),
        "closed_at": _time(evidence.closed_at),
        "practice": evidence.practice,
        "stays": [_write_stay(stay) for stay in evidence.stays],
        "staff": sorted(map(list, evidence.staff)),
        "served": [format_time(at) for at in evidence.served],
        "outreach": evidence.outreach,
        "witnesses": [[one.name, one.agrees] for one in evidence.witnesses],
        "review": list(evidence.review),
        "flags": list(evidence.flags),
        "since": _time(evidence.since),
        "on_duty": [[one.person, one.role, format_time(one.since), format_time(one.until)] for one in evidence.on_duty],
        "hidden": evidence.hidden,
        "first": evidence.first,
        "last": evidence.last,
        "pictures": [_write_picture(one) for one in evidence.pictures],
    }


_moment = datetime.fromisoformat
"""``format_time`` wrote these: they are not checked once more, there are tens of thousands in a month."""


@lru_cache(maxsize=4096)
def _read(text: str) -> VisitEvidence:
    """As many as a county has in some months; they never change, and a month is asked for again and again."""
    return read_evidence(json.loads(text))


def read_evidence(said: dict[str, Any]) -> VisitEvidence:
    return VisitEvidence(
        visit=said["visit"],
        vehicle=said["vehicle"],
        village=said["village"],
        named=said["named"],
        day=date.fromisoformat(said["day"]),
        opened_at=_moment(said["opened_at"]),
        closed_at=_moment(said["closed_at"]) if said["closed_at"] else None,
        practice=said["practice"],
        stays=tuple(map(_read_stay, said["stays"])),
        staff=frozenset((person, role) for person, role in said["staff"]),
        served=tuple(map(_moment, said["served"])),
        outreach=said["outreach"],
        witnesses=tuple(Witness(name, agrees) for name, agrees in said["witnesses"]),
        review=tuple(said["review"]),
        flags=tuple(said["flags"]),
        since=_moment(said["since"]) if said["since"] else None,
        on_duty=tuple(
            Shift(person, role, _moment(since), _moment(until)) for person, role, since, until in said["on_duty"]
        ),
        hidden=said["hidden"],
        first=said["first"],
        last=said["last"],
        pictures=tuple(map(_read_picture, said.get("pictures", ()))),
    )


def _time(at: datetime | None) -> str | None:
    return format_time(at) if at is not None else None


def _write_picture(picture: VisitPicture) -> dict[str, Any]:
    return asdict(picture) | {"taken_at": format_time(picture.taken_at)}


def _read_picture(said: dict[str, Any]) -> VisitPicture:
    place = tuple(said["place"]) if said["place"] is not None else None
    return VisitPicture(**said | {"taken_at": _moment(said["taken_at"]), "place": place})


def _write_stay(stay: Stay) -> list[Any]:
    times = [format_time(stay.arrived_at), _time(stay.departed_at), format_time(stay.seen_until)]
    return [stay.village_code, *times, stay.dwell_s, stay.inferred_s, list(stay.flags)]


def _read_stay(written: list[Any]) -> Stay:
    code, arrived, departed, seen, dwell_s, inferred_s, flags = written
    left = _moment(departed) if departed else None
    return Stay(code, _moment(arrived), left, _moment(seen), dwell_s, inferred_s, tuple(flags))
