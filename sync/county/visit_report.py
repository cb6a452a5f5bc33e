"""Everything the page of one visit shows: verdict, track, crew, work, and what stands in the journal about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from sync.county.database import Database, Row
from sync.county.month_table import JudgedVisit, MonthTables, VillageMonth, visit_json
from sync.county.schema import checkpoints, entries, entry_facts, projected
from sync.county.visits import VisitRecord, Visits
from sync.formats.notes import Note, VerifierKey, cosigned_at
from sync.formats.records import parse_time
from sync.proof.areas import Village
from sync.proof.coverage import Rules
from sync.proof.presence import Fix, local_day
from sync.proof.visit_pictures import VisitPicture
from sync.proof.visit_proof import Bracket

_AROUND = timedelta(minutes=25)


@dataclass(frozen=True, slots=True)
class JournalSpan:
    """Where the visit stands in its journal, between two cosigned checkpoints.

    :ivar first_n: and ``last_n``: from the start of its boot to its closing
    :ivar root: of the first cosigned checkpoint that covers it
    :ivar witnessed_at: when the province's witness cosigned a checkpoint that covers it, by its own clock; None while
        it has not, or there is none
    """

    first_n: int
    last_n: int
    cosigned: Bracket
    root: bytes | None
    witnessed_at: datetime | None = None

    @property
    def known_at(self) -> datetime | None:
        return self.cosigned.known_at

    @property
    def sealed_at(self) -> datetime | None:
        return self.cosigned.sealed_at

    @property
    def width(self) -> timedelta | None:
        return self.cosigned.width

    @property
    def weak(self) -> bool:
        return self.width is not None and self.cosigned.weak

    @property
    def on_target(self) -> bool:
        return self.cosigned.on_target


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
    bracket: JournalSpan

    @property
    def record(self) -> VisitRecord:
        return self.judged.case.record

    @property
    def pictures(self) -> tuple[VisitPicture, ...]:
        """What the entries say of the visit's pictures."""
        return self.judged.case.proof.evidence.pictures


class VisitReports:
    """:param witness: the province's key; None when the county has no witness"""

    def __init__(
        self, database: Database, visits: Visits, tables: MonthTables, witness: VerifierKey | None = None
    ) -> None:
        self._witness = witness
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
            bracket=self._span(found),
        )

    def entries(self, report: VisitReport, first: int, count: int) -> list[EntryLine]:
        """Entries of the visit's range in the journal."""
        origin, span = report.record.origin, report.bracket
        wanted = (entry_facts.c.origin == origin) & entry_facts.c.n.between(max(first, span.first_n), span.last_n)
        both = entry_facts.join(entries, (entries.c.origin == entry_facts.c.origin) & (entries.c.n == entry_facts.c.n))
        columns = (entry_facts.c.n, entry_facts.c.kind, entry_facts.c.at, entries.c.leaf)
        found = select(*columns).select_from(both).where(wanted).order_by(entry_facts.c.n).limit(count)
        rows = self._database.rows(found)
        return [EntryLine(row["n"], row["kind"], parse_time(row["at"]), row["leaf"]) for row in rows]

    def _judged(self, record: VisitRecord) -> tuple[JudgedVisit, VillageMonth, Rules] | None:
        """The visit as its village's month judges it; its day decides the month, and may be the day before."""
        opened = local_day(record.opened_at)
        days = (self._visits.day(record) or opened, opened, opened - timedelta(days=1))
        for month in dict.fromkeys(day.replace(day=1) for day in days):
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
            ("follow_up_forms", "form", "follow_up"),
            ("consultations", "consultation", "consultation"),
        ):
            table = projected[name]
            wanted = (table.c.visit == record.visit) & (table.c.origin == record.origin)
            if name == "readings":
                wanted &= table.c.confirmed_at.is_not(None) & table.c.rejected_at.is_(None)
            if name in ("screening_results", "follow_up_forms", "consultations"):  # not by form: some are secret
                row = self._database.row(select(func.count().label("n")).where(wanted))
                counts += [(shown, row["n"])] if row and row["n"] else []
                continue
            kind = table.c[column]
            grouped = select(kind.label("kind"), func.count().label("n")).where(wanted).group_by(kind)
            counts += [(f"{shown}_{row['kind']}", row["n"]) for row in self._database.rows(grouped)]
        counts += self._ecg_work(record)
        return [count for count in counts if count[0] != "recording_signature"]

    def _ecg_work(self, record: VisitRecord) -> Iterator[tuple[str, int]]:
        """Of the analysed ECGs: how many a doctor signed, and which rhythms; the doctor counts before the analysis."""
        table = projected["ecg_analyses"]
        wanted = (table.c.visit == record.visit) & (table.c.origin == record.origin) & table.c.analysed_at.is_not(None)
        rows = self._database.rows(select(table.c.rhythm, table.c.af, table.c.reviewed_at).where(wanted))
        found = Counter("yes" if row["af"] == "yes" else row["rhythm"] for row in rows if row["af"] != "no")
        for name, kind in (("yes", "ecg_af"), ("likely", "ecg_likely"), ("possible", "ecg_possible")):
            if found[name]:
                yield kind, found[name]
        if signed := sum(row["reviewed_at"] is not None for row in rows):
            yield "ecg_reviewed", signed

    def _span(self, judged: JudgedVisit) -> JournalSpan:
        record, evidence = judged.case.record, judged.case.proof.evidence
        covering = (
            select(checkpoints.c.root)
            .where(checkpoints.c.origin == record.origin, checkpoints.c.size > evidence.last)
            .where(checkpoints.c.cosigned_at.is_not(None))
            .order_by(checkpoints.c.size)
            .limit(1)
        )
        sealed = self._database.row(covering)
        root = sealed["root"] if sealed else None
        return JournalSpan(evidence.first, evidence.last, judged.case.bracket, root, self._witnessed_at(judged))

    def _witnessed_at(self, judged: JudgedVisit) -> datetime | None:
        """The first cosignature of the witness over the whole visit."""
        if self._witness is None:
            return None
        covering = (
            select(checkpoints.c.note)
            .where(checkpoints.c.origin == judged.case.record.origin)
            .where(checkpoints.c.size > judged.case.proof.evidence.last, checkpoints.c.witnessed_at.is_not(None))
            .order_by(checkpoints.c.size)
            .limit(1)
        )
        row = self._database.row(covering)
        if row is None:
            return None
        note = Note.parse(row["note"])
        lines = [line for line in note.signatures if self._witness.verifies(note.text, line)]
        return min(map(cosigned_at, lines), default=None)


def _picture_json(picture: VisitPicture) -> dict[str, Any]:
    return {
        "entry": picture.n,
        "what": picture.what,
        "sha256": picture.sha256,
        "taken_at": picture.taken_at.isoformat(),
        "place": picture.place,
        "outside_m": picture.outside_m,
        "during": picture.during,
        "name": picture.name,
        "post": picture.post,
    }


def as_json(report: VisitReport) -> dict[str, Any]:
    """The answer of ``GET /api/visits/{id}``."""
    record, bracket, facts = report.record, report.bracket, report.judged.case.facts
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
                "departed_at": stay.left_at.isoformat() if stay.departed_at or not facts.open else None,
                "dwell_s": round(stay.dwell_s),
                "inferred_s": round(stay.inferred_s),
                "flags": list(stay.flags),
            }
            for stay in report.judged.case.stays
        ],
        "crew": [{"person": row["person"], "role": row["role"], "name": row["name"]} for row in report.crew],
        "work": dict(report.work),
        "track_points": len(report.fixes),
        "pictures": [_picture_json(one) for one in report.pictures],
        "proof": {
            "first_entry": bracket.first_n,
            "last_entry": bracket.last_n,
            "hidden_entries": report.judged.case.proof.evidence.hidden,
            "known_at": bracket.known_at.isoformat() if bracket.known_at else None,
            "sealed_at": bracket.sealed_at.isoformat() if bracket.sealed_at else None,
            "width_s": round(bracket.width.total_seconds()) if bracket.width is not None else None,
            "root": bracket.root.hex() if bracket.root else None,
            "witnessed_at": bracket.witnessed_at.isoformat() if bracket.witnessed_at else None,
        },
    }
