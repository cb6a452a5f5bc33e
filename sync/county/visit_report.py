"""Everything the page of one visit shows: verdict, track, crew, work, and what stands in the journal about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from sync.areas import Village
from sync.county.database import Database, Row
from sync.county.interpretation import said
from sync.county.month_table import JudgedVisit, MonthTables, VillageMonth, visit_json
from sync.county.schema import checkpoints, entries, entry_facts, projected
from sync.county.visits import VisitRecord, Visits
from sync.coverage import Rules
from sync.presence import Fix, local_day
from sync.records import parse_time

DOUBTFUL = timedelta(hours=72)
_AROUND = timedelta(minutes=25)


@dataclass(frozen=True, slots=True)
class Bracket:
    """Back-dating is excluded between two cosigned checkpoints.

    :ivar known_at: T1, cosigning time of the checkpoint that the vehicle knew when it started; its journal is younger
    :ivar sealed_at: T2, cosigning time of the first checkpoint that covers the whole visit; its journal is older
    """

    first_n: int
    last_n: int
    known_at: datetime | None
    sealed_at: datetime | None
    root: bytes | None

    @property
    def width(self) -> timedelta | None:
        return self.sealed_at - self.known_at if self.sealed_at and self.known_at else None

    @property
    def weak(self) -> bool:
        return self.width is not None and self.width > DOUBTFUL


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One entry as the list shows it: never its content."""

    n: int
    kind: str
    at: datetime
    leaf: bytes


@dataclass(frozen=True, slots=True)
class VisitReport:
    """:ivar number: which counted visit of the month this is, from 1; 0 when it is not counted
    :ivar before: the day of the counted visit before it in the month
    """

    judged: JudgedVisit
    village: Village
    rules: Rules
    number: int
    before: date | None
    fixes: tuple[Fix, ...]
    crew: tuple[Row, ...]
    work: tuple[tuple[str, int], ...]
    bracket: Bracket | None

    @property
    def record(self) -> VisitRecord:
        return self.judged.case.record


class VisitReports:
    def __init__(self, database: Database, visits: Visits, tables: MonthTables) -> None:
        self._database = database
        self._visits = visits
        self._tables = tables

    def find(self, visit: str) -> VisitReport | None:
        record = self._visits.find(visit)
        judged = self._judged(record) if record is not None else None
        if record is None or judged is None:
            return None
        found, row, rules = judged
        counted = [other for other in row.visits if other.verdict.counted]
        earlier = [other for other in counted if other.case.facts.day < found.case.facts.day]
        return VisitReport(
            judged=found,
            village=row.village,
            rules=rules,
            number=len(earlier) + 1 if found.verdict.counted else 0,
            before=earlier[-1].case.facts.day if earlier else None,
            fixes=tuple(self._track(found)),
            crew=tuple(self._visits.staff(record)),
            work=tuple(self._work(record)),
            bracket=self._bracket(record),
        )

    def entries(self, record: VisitRecord, first: int, count: int) -> list[EntryLine]:
        """Entries of the visit's range in the journal, from its opening to its closing."""
        span = self._range(record)
        if span is None:
            return []
        wanted = (entry_facts.c.origin == record.origin) & entry_facts.c.n.between(max(first, span[0]), span[1])
        both = entry_facts.join(entries, (entries.c.origin == entry_facts.c.origin) & (entries.c.n == entry_facts.c.n))
        columns = (entry_facts.c.n, entry_facts.c.kind, entry_facts.c.at, entries.c.leaf)
        found = select(*columns).select_from(both).where(wanted).order_by(entry_facts.c.n).limit(count)
        rows = self._database.rows(found)
        return [EntryLine(row["n"], row["kind"], parse_time(row["at"]), row["leaf"]) for row in rows]

    def _judged(self, record: VisitRecord) -> tuple[JudgedVisit, VillageMonth, Rules] | None:
        """The visit as its village's month judges it; its day decides the month, and may be the day before."""
        opened = local_day(record.opened_at)
        for month in dict.fromkeys(((opened.replace(day=1)), (opened - timedelta(days=1)).replace(day=1))):
            table = self._tables.table(month, record.practice)
            for row in table.rows:
                for judged in row.visits:
                    if judged.case.facts.visit == record.visit:
                        return judged, row, table.rules
        return None

    def _track(self, judged: JudgedVisit) -> list[Fix]:
        record, found = judged.case.record, judged.case.stays
        since = min([record.opened_at, *(stay.arrived_at for stay in found)]) - _AROUND
        ends = [record.closed_at or record.opened_at, *(stay.departed_at or stay.arrived_at for stay in found)]
        until = max(ends) + _AROUND
        if any(stay.departed_at is None for stay in found):
            until += timedelta(hours=24)
        return self._visits.fixes(record.origin, since, until)

    def _work(self, record: VisitRecord) -> Sequence[tuple[str, int]]:
        """How often each kind of work was done: readings by type, recordings by what, prompts, consultations."""
        counts: list[tuple[str, int]] = []
        for name, column, shown in (
            ("readings", "type", "reading"),
            ("recordings", "what", "recording"),
            ("screening_results", "rule", "screening"),
            ("consultations", "consultation", "consultation"),
        ):
            table = projected[name]
            wanted = (table.c.visit == record.visit) & (table.c.origin == record.origin)
            if name == "readings":
                wanted &= table.c.confirmed_at.is_not(None)
            if name in ("screening_results", "consultations"):
                row = self._database.row(select(func.count().label("n")).where(wanted))
                counts += [(shown, row["n"])] if row and row["n"] else []
                continue
            kind = table.c[column]
            grouped = select(kind.label("kind"), func.count().label("n")).where(wanted).group_by(kind)
            counts += [(f"{shown}_{row['kind']}", row["n"]) for row in self._database.rows(grouped)]
        return [count for count in counts if count[0] != "recording_signature"]

    def _range(self, record: VisitRecord) -> tuple[int, int] | None:
        of_visit = (entry_facts.c.origin == record.origin) & (entry_facts.c.visit == record.visit)
        row = self._database.row(
            select(func.min(entry_facts.c.n).label("first"), func.max(entry_facts.c.n).label("last")).where(of_visit)
        )
        return (row["first"], row["last"]) if row and row["first"] is not None else None

    def _bracket(self, record: VisitRecord) -> Bracket | None:
        span = self._range(record)
        if span is None:
            return None
        first, last = span
        covering = (
            select(checkpoints.c.root, checkpoints.c.cosigned_at)
            .where(checkpoints.c.origin == record.origin, checkpoints.c.size > last)
            .where(checkpoints.c.cosigned_at.is_not(None))
            .order_by(checkpoints.c.size)
            .limit(1)
        )
        sealed = self._database.row(covering)
        sealed_at, root = (sealed["cosigned_at"], sealed["root"]) if sealed else (None, None)
        return Bracket(first, last, self._known_at(record.origin, first), sealed_at, root)

    def _known_at(self, origin: str, before: int) -> datetime | None:
        """When the county cosigned the checkpoint that the last anchor entry before ``before`` names."""
        anchors = (entry_facts.c.origin == origin) & (entry_facts.c.kind == "anchor/1") & (entry_facts.c.n < before)
        both = entry_facts.join(entries, (entries.c.origin == entry_facts.c.origin) & (entries.c.n == entry_facts.c.n))
        newest = select(entries.c.body).select_from(both).where(anchors).order_by(entry_facts.c.n.desc()).limit(1)
        anchor = self._database.row(newest)
        if anchor is None:
            return None
        size = said(anchor["body"].decode())["size"]
        named = select(checkpoints.c.cosigned_at).where(checkpoints.c.origin == origin, checkpoints.c.size == size)
        row = self._database.row(named)
        return row["cosigned_at"] if row else None


def as_json(report: VisitReport) -> dict[str, Any]:
    """The answer of ``GET /api/visits/{id}``."""
    record, bracket = report.record, report.bracket
    return {
        **visit_json(report.judged),
        "village": record.village,
        "village_name": report.village.name,
        "township": report.village.township,
        "opened_at": record.opened_at.isoformat(),
        "closed_at": record.closed_at.isoformat() if record.closed_at else None,
        "stays": [
            {
                "arrived_at": stay.arrived_at.isoformat(),
                "departed_at": stay.departed_at.isoformat() if stay.departed_at else None,
                "dwell_s": round(stay.dwell_s),
                "inferred_s": round(stay.inferred_s),
                "flags": list(stay.flags),
            }
            for stay in report.judged.case.stays
        ],
        "crew": [{"person": row["person"], "role": row["role"], "name": row["name"]} for row in report.crew],
        "work": dict(report.work),
        "track_points": len(report.fixes),
        "proof": None
        if bracket is None
        else {
            "first_entry": bracket.first_n,
            "last_entry": bracket.last_n,
            "known_at": bracket.known_at.isoformat() if bracket.known_at else None,
            "sealed_at": bracket.sealed_at.isoformat() if bracket.sealed_at else None,
            "root": bracket.root.hex() if bracket.root else None,
        },
    }
