"""The records behind a number of the work page: when, where, by which van, whose, and how it stands.

The newest first, at most ``MOST_SHOWN``. Nobody is named: a family name and a year of birth say whom to look for on
the visit's own page, where names are given for a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, and_, func, or_, select, true

from sync.county.database import Database, Row
from sync.county.follow_up_report import CONFIDENTIAL, PROGRAMMES, has_day, members_due, soon
from sync.county.programme_lists import IN_TIME_MINUTES
from sync.county.red_values import closed, closing_of
from sync.county.registrations import is_same
from sync.county.schema import logs, projected, same_people, visit_work
from sync.county.visit_work import DISEASES, FOUND, SERVED
from sync.county.work_report import By, counted, local_midnight, period
from sync.formats.records import parse_time
from sync.proof.areas import Village
from sync.proof.coverage import month_of
from sync.proof.presence import local_day

RED = ("critical", "in_time", "open_critical")
VISITS = ("visits", "served")
FOLLOW_UPS = ("follow_members", "follow_due", "follow_overdue")
_HOW = {
    "referrals": ("place", "urgency", "outcome", "follow_up_on"),
    "consultations": ("state",),
    "ecg_analyses": ("heart_rate_bpm", "reviewed_at"),
}
"""By table, what says how a record stands."""
MOST_SHOWN = 500
_VISITS, _PATIENTS = projected["visits"], projected["patients"]
_WHO = {"village": _VISITS.c.village, "village_name": _VISITS.c.village_name, "township": _VISITS.c.township}
_WHO |= {"name": _PATIENTS.c.name, "sex": _PATIENTS.c.sex, "born_on": _PATIENTS.c.born_on}


def _counted_as(today: date) -> dict[str, tuple[Table, ColumnElement[str], ColumnElement[bool]]]:
    """By the name of a number, the rows behind it: of which table, when they happened, which of them."""
    return {name: (table, at, wanted) for table, at, each in counted(today) for name, wanted in each.items()}


KINDS = (*VISITS, *RED, *_counted_as(date.min), *FOLLOW_UPS, *DISEASES)
"""The numbers of ``work_table`` by name; a disease for those who were found."""


@dataclass(frozen=True, slots=True)
class Record:
    """:ivar day: local; :ivar visit: empty where it belongs to none; :ivar facts: what its words need, by kind"""

    day: date
    visit: str
    vehicle: str
    village: str
    township: str
    name: str
    sex: str
    born: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A cell of the work page: ``what`` of ``KINDS``, of the month or of the row ``of`` of its table."""

    what: str
    month: date
    by: By
    of: str
    practice: bool

    @property
    def days(self) -> tuple[date, date]:
        """A row of the table by month is a month of its own; the sum below it is all of them.

        :raises ValueError: ``of`` is no month
        """
        if self.by == "month" and self.of:
            return period(month_of(self.of), "township")
        return period(self.month, self.by)


def work_records(database: Database, villages: Sequence[Village], asked: Asked, today: date) -> list[Record]:
    """:raises ValueError: the row is no month of the table by month"""
    return _Reading(database, villages, asked).read(today)


class _Reading:
    def __init__(self, database: Database, villages: Sequence[Village], asked: Asked) -> None:
        self._database, self._asked = database, asked
        first, last = asked.days
        self._since, self._until = local_midnight(first), local_midnight(last + timedelta(days=1))
        journals = database.rows(select(logs.c.origin).where(logs.c.practice == asked.practice))
        self._origins = [row["origin"] for row in journals]
        if asked.by == "van" and asked.of:
            self._origins = [origin for origin in self._origins if origin.partition(".")[0] == asked.of]
        self._villages = {village.code: village for village in villages}

    def read(self, today: date) -> list[Record]:
        what = self._asked.what
        if what in VISITS:
            return self._visits()
        if what in FOLLOW_UPS:
            return self._follow_ups(what, today)
        if what in RED:
            return self._red(what)
        if what in DISEASES:
            return self._found(what)
        table, at, wanted = _counted_as(today)[what]
        facts = [table.c[name] for name in _HOW[table.name]]
        return [self._record(row, row) for row in self._rows(table, at, facts, wanted)]

    def _visits(self) -> list[Record]:
        same = and_(visit_work.c.origin == _VISITS.c.origin, visit_work.c.visit == _VISITS.c.visit)
        visited = {name: column for name, column in _WHO.items() if column.table is _VISITS}
        query = (
            select(
                _VISITS.c.origin,
                _VISITS.c.visit,
                _VISITS.c.opened_at.label("at"),
                func.coalesce(visit_work.c.people, 0).label("people"),
                *(column.label(name) for name, column in visited.items()),
            )
            .select_from(_VISITS.outerjoin(visit_work, and_(same, visit_work.c.what == SERVED)))
            .where(
                _VISITS.c.origin.in_(self._origins),
                _VISITS.c.opened_at >= self._since,
                _VISITS.c.opened_at < self._until,
                self._of_township(_VISITS.c.village),
            )
            .order_by(_VISITS.c.opened_at.desc())
            .limit(MOST_SHOWN)
        )
        nobody = {"name": "", "sex": "", "born_on": ""}
        return [self._record({**row, **nobody}, row) for row in self._database.rows(query)]

    def _red(self, what: str) -> list[Record]:
        actions, readings = projected["critical_actions"], projected["readings"]
        same = and_(readings.c.origin == actions.c.origin, readings.c.reading == actions.c.reading)
        findings = projected["critical_findings"]
        kind = func.coalesce(readings.c.type, findings.c.what).label("type")
        facts = [actions.c.reading, kind, actions.c.at.label("found_at"), closing_of(actions).label("closing")]
        finding = and_(findings.c.origin == actions.c.origin, findings.c.finding == actions.c.reading)
        source = actions.outerjoin(readings, same).outerjoin(findings, finding)
        found = self._rows(actions, actions.c.at, facts, actions.c.action == "found", source=source, most=None)
        records = [self._record(row, _answered(row)) for row in found]
        return [one for one in records if _is_of(what, one.facts["minutes"])][:MOST_SHOWN]

    def _found(self, disease: str) -> list[Record]:
        """One for each person; the newest result."""
        table = projected["screening_results"]
        codes = [pair for pair, of in FOUND.items() if of == disease]
        points = [and_(table.c.rule == rule, table.c.code == code) for rule, code in codes]
        first = [
            func.coalesce(same_people.c.first_origin, table.c.origin).label("first_origin"),
            func.coalesce(same_people.c.first_patient, table.c.patient).label("first_patient"),
        ]
        facts = [table.c.rule, table.c.code, table.c.level, *first]
        source = table.outerjoin(same_people, is_same(table))
        once: dict[tuple[str, str], Record] = {}
        for row in self._rows(table, table.c.at, facts, or_(*points), source=source, by_visit=True):
            once.setdefault((row["first_origin"], row["first_patient"] or ""), self._record(row, row))
        return list(once.values())

    def _follow_ups(self, what: str, today: date) -> list[Record]:
        """The longest overdue first."""
        members = members_due(self._asked.practice)
        same = and_(_PATIENTS.c.origin == members.c.origin, _PATIENTS.c.patient == members.c.patient)
        wanted = {"follow_overdue": members.c.due_on < today.isoformat(), "follow_due": soon(members, today)}
        query = (
            select(
                members.c.origin,
                members.c.village,
                members.c.village_name,
                members.c.programme,
                members.c.due_on,
                *(_WHO[name].label(name) for name in ("name", "sex", "born_on")),
            )
            .select_from(members.outerjoin(_PATIENTS, same))
            .where(
                has_day(members),
                members.c.origin.in_(self._origins),
                members.c.programme.in_(sorted(set(PROGRAMMES) - CONFIDENTIAL)),
                wanted.get(what, true()),
                self._of_township(members.c.village),
            )
            .order_by(members.c.due_on, members.c.origin, members.c.patient)
            .limit(MOST_SHOWN)
        )
        return [
            self._record({**row, "visit": "", "township": "", "at": None}, row) for row in self._database.rows(query)
        ]

    def _rows(
        self,
        table: Table,
        at: ColumnElement[str],
        facts: Sequence[Any],
        *wanted: Any,
        source: FromClause | None = None,
        by_visit: bool = False,
        most: int | None = MOST_SHOWN,
    ) -> list[Row]:
        """:param by_visit: found by the visits of the period, for tables without an index on when it happened"""
        visit = and_(_VISITS.c.origin == table.c.origin, _VISITS.c.visit == table.c.visit)
        patient = _patient_of(table)
        person = and_(_PATIENTS.c.origin == table.c.origin, _PATIENTS.c.patient == patient)
        moment = _VISITS.c.opened_at if by_visit else at
        joined = (table if source is None else source).join(_VISITS, visit, isouter=not by_visit)
        if not _has_patient(table):
            encounters = projected["encounters"]
            joined = joined.outerjoin(
                encounters,
                and_(encounters.c.origin == table.c.origin, encounters.c.encounter == table.c.encounter),
            )
        query = (
            select(
                table.c.origin,
                table.c.visit,
                patient.label("patient"),
                at.label("at"),
                *facts,
                *(column.label(name) for name, column in _WHO.items()),
            )
            .select_from(joined.outerjoin(_PATIENTS, person))
            .where(
                (_VISITS if by_visit else table).c.origin.in_(self._origins),
                moment >= self._since,
                moment < self._until,
                self._of_township(_VISITS.c.village),
                *wanted,
            )
            .order_by(at.desc())
            .limit(most)
        )
        return self._database.rows(query)

    def _of_township(self, code: ColumnElement[str]) -> ColumnElement[bool]:
        if self._asked.by != "township" or not self._asked.of:
            return true()
        return code.in_([one.code for one in self._villages.values() if one.township == self._asked.of])

    def _record(self, row: Mapping[str, Any], facts: Mapping[str, Any]) -> Record:
        village = self._villages.get(row["village"] or "")
        return Record(
            day=local_day(parse_time(row["at"])) if row["at"] else date.fromisoformat(facts["due_on"]),
            visit=row["visit"] or "",
            vehicle=row["origin"].partition(".")[0],
            village=village.name if village else row["village_name"] or "",
            township=village.township if village else row["township"] or "",
            name=masked(row["name"] or ""),
            sex=row["sex"] or "",
            born=(row["born_on"] or "")[:4],
            facts=facts,
        )


def masked(name: str) -> str:
    """The family name: "王*"."""
    return f"{name[:1]}*" if name else ""


def _is_of(what: str, minutes: int | None) -> bool:
    """Whether a red value that was closed after ``minutes``, None: not yet, is counted as ``what`` of ``RED``."""
    if what == "open_critical":
        return minutes is None
    return what == "critical" or (minutes is not None and minutes <= IN_TIME_MINUTES)


def _answered(row: Row) -> dict[str, Any]:
    done = closed(row["found_at"], row["closing"])
    minutes, action = (done.minutes, done.action) if done else (None, "")
    return {"type": row["type"] or "", "minutes": minutes, "action": action}


def _has_patient(table: Table) -> bool:
    return "patient" in table.c


def _patient_of(table: Table) -> Any:
    """Of an ECG's analysis only the encounter is known."""
    return table.c.patient if _has_patient(table) else projected["encounters"].c.patient
