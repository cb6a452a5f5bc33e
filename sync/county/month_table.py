"""The month table, village by day: verdicts with their reasons, sums, what to hurry for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import select

from devices.clock import Clock
from sync.county.database import Database, Row
from sync.county.fleet import Fleet
from sync.county.registry import Registry, Waiver
from sync.county.schema import logs
from sync.county.visits import VisitCase, Visits
from sync.formats.records import parse_time
from sync.proof.areas import Village
from sync.proof.coverage import MonthState, MonthVerdict, Rules, VisitState, VisitVerdict, end_of_month, judge_month
from sync.proof.presence import LOCAL, local_day
from sync.proof.registry_state import SealedVillage, Verdict

NOT_SYNCED_AFTER = timedelta(hours=72)
"""A van that stands switched off over a weekend is not behind."""
WARN_ZERO_FROM_DAY = 15
WARN_SHORT_FROM_DAY = 25
_BEST_FIRST = ("counted", "open", "review", "short", "not_counted", "merged")


@dataclass(frozen=True, slots=True)
class JudgedVisit:
    case: VisitCase
    verdict: VisitVerdict

    @property
    def dwell_minutes(self) -> int:
        return int((self.case.facts.dwell_s or 0) // 60)


@dataclass(frozen=True, slots=True)
class VillageMonth:
    """One row of the table. ``cells``: the best visit of each day with one."""

    village: Village
    verdict: MonthVerdict
    visits: tuple[JudgedVisit, ...]
    cells: Mapping[date, JudgedVisit]
    waiver: Waiver | None

    @property
    def dwell_minutes(self) -> int:
        return sum(visit.dwell_minutes for visit in self.visits if visit.verdict.state is not VisitState.MERGED)

    @property
    def encounters(self) -> int:
        """People served; those of a merged visit stand in the one that carries it."""
        return sum(len(visit.case.served) for visit in self.visits if visit.verdict.state is not VisitState.MERGED)


@dataclass(frozen=True, slots=True)
class SilentVehicle:
    """A vehicle that has not reported up to now (or up to the end of a past month)."""

    origin: str
    vehicle: str
    heard_at: datetime | None


@dataclass(frozen=True, slots=True)
class MonthTable:
    """:ivar sealed_at: when the verdicts that it shows were written into the registry, the latest; None: not yet
    :ivar sealed_on: the first day on which late arrivals no longer change the month by themselves
    """

    month: date
    practice: bool
    rules: Rules
    rows: tuple[VillageMonth, ...]
    days: tuple[date, ...]
    today: date
    made_at: datetime
    silent: tuple[SilentVehicle, ...]
    sealed_at: datetime | None = None

    @property
    def sealed_on(self) -> date:
        return end_of_month(self.month) + timedelta(days=self.rules.provisional_days + 1)

    @property
    def provisional(self) -> bool:
        return self.today < self.sealed_on

    @property
    def superseded(self) -> list[VillageMonth]:
        """Villages whose township was sealed anew because of what arrived later."""
        return [row for row in self.rows if "supersedes_sealed" in row.verdict.flags]

    def of_state(self, *states: MonthState) -> list[VillageMonth]:
        return [row for row in self.rows if row.verdict.state in states]

    def visits_of_state(self, *states: VisitState) -> int:
        return sum(visit.verdict.state in states for row in self.rows for visit in row.visits)

    def counted_on(self) -> Counter[date]:
        """How many visits count, by day."""
        return Counter(one.case.facts.day for row in self.rows for one in row.visits if one.verdict.counted)

    @property
    def counted(self) -> int:
        return sum(min(row.verdict.counted, self.rules.visits_per_month) for row in self.rows)

    def townships(self) -> dict[str, list[VillageMonth]]:
        grouped: dict[str, list[VillageMonth]] = {}
        for row in self.rows:
            grouped.setdefault(row.village.township, []).append(row)
        return grouped

    def hurry(self) -> list[VillageMonth]:
        """Villages to warn of: without a visit from day 15, with too few from day 25, all that fell short later."""
        over = self.today > self.days[-1]
        day = self.today.day if self.today >= self.days[0] and not over else 0
        found = []
        for row in self.rows:
            none = row.verdict.counted == 0 and (over or day >= WARN_ZERO_FROM_DAY)
            few = row.verdict.missing > 0 and (over or day >= WARN_SHORT_FROM_DAY)
            if none or few:
                found.append(row)
        return sorted(found, key=lambda row: (row.verdict.state is MonthState.WAIVED, row.verdict.counted))


class MonthTables:
    def __init__(self, database: Database, registry: Registry, fleet: Fleet, visits: Visits, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._fleet = fleet
        self._visits = visits
        self._clock = clock

    def default_practice(self) -> bool:
        """Show practice when there is nothing else to show."""
        return self._visits.any_practice() and not self._visits.any_real()

    def table(self, month: date, practice: bool, township: str | None = None, as_sealed: bool = True) -> MonthTable:
        """:param month: its first day; practice visits and real ones are never in one table
        :param as_sealed: what is sealed is shown so; else judged anew from what is here now
        """
        now = self._clock.now()
        today = local_day(now)
        last = end_of_month(month)
        rules = self._registry.rules_of(month)
        silent = self._silent(month, practice, now)
        waivers = self._registry.waivers(month)
        by_village: dict[str, list[VisitCase]] = {}
        for case in self._visits.cases(month, last, practice):
            by_village.setdefault(case.facts.village, []).append(case)
        sealed = self._registry.sealed(month, practice) if as_sealed else {}
        rows = []
        for village in self._villages(month, last):
            if township is None or village.township == township:
                cases = by_village.get(village.code, [])
                waiver = waivers.get(village.code)
                verdict = judge_month(
                    village.code,
                    month,
                    [case.facts for case in cases],
                    rules,
                    today=today,
                    waived=waiver is not None,
                    synced=not silent,
                )
                if village.code in sealed:
                    verdict = _as_sealed(verdict, rules, *sealed[village.code])
                rows.append(_row(village, verdict, cases, waiver))
        sealed_at = max((verdict.at for verdict, _ in sealed.values()), default=None)
        days = tuple(month + timedelta(days=place) for place in range(last.day))
        return MonthTable(month, practice, rules, tuple(rows), days, today, now, tuple(silent), sealed_at)

    def being_read(self, month: date) -> bool:
        """Whether what a vehicle told of ``month`` is here and not read yet, as after an upgrade or ``prune``."""
        read = {row["origin"]: row for row in self._database.rows(select(logs))}
        known = [read[vehicle.origin] for vehicle in self._fleet.all() if vehicle.origin in read]
        until = _end(month) + timedelta(days=1)
        unread = [_told(log) for log in known if log["interpreted"] < log["next_entry"]]
        return any(told is None or told < until for told in unread)

    def _villages(self, first: date, last: date) -> list[Village]:
        """In force on any day of the month, by township and code; of one code, the later."""
        found: dict[str, Village] = {}
        for village in sorted(self._registry.villages(), key=lambda village: village.valid_from):
            if village.valid_from <= last and (village.valid_until is None or village.valid_until >= first):
                found[village.code] = village
        order = {name: place for place, name in enumerate(dict.fromkeys(v.township for v in found.values()))}
        return sorted(found.values(), key=lambda village: (order[village.township], village.code))

    def _silent(self, month: date, practice: bool, now: datetime) -> list[SilentVehicle]:
        due = min(now - NOT_SYNCED_AFTER, _end(month))
        heard = {row["origin"]: row for row in self._database.rows(select(logs))}
        found = []
        for vehicle in self._fleet.all():
            log = heard.get(vehicle.origin)
            if vehicle.revoked_at is not None or (log is None and practice) or (log and log["practice"] != practice):
                continue
            last = _heard_of(log) if log else None
            if vehicle.enrolled_at < due and (last is None or last < due):
                found.append(SilentVehicle(vehicle.origin, vehicle.vehicle, last))
        return found


def _as_sealed(now: MonthVerdict, rules: Rules, verdict: Verdict, sealed: SealedVillage) -> MonthVerdict:
    """As it was sealed. A visit that came later keeps what it is by itself until a new verdict takes it in."""
    visits = dict(now.visits)
    for visit in sealed.visits:
        known = visits.get(visit.visit, VisitVerdict(visit.visit, VisitState.NOT_COUNTED))
        if (known.state, known.reasons) != (visit.state, visit.reasons):
            known = replace(known, state=VisitState(visit.state), reasons=visit.reasons)
        visits[visit.visit] = known
    return replace(
        now,
        state=MonthState(sealed.state),
        counted=sealed.counted,
        missing=max(0, rules.visits_per_month - sealed.counted),
        visits=visits,
        flags=("supersedes_sealed",) if verdict.supersedes is not None else (),
    )


def _heard_of(log: Row) -> datetime | None:
    """The later of what the vehicle last told and when it last called.

    A call says nothing while entries that it promised are under way, or not read yet.
    """
    told = _told(log)
    if log["interpreted"] < log["pending_size"]:
        return told
    return max((moment for moment in (told, log["last_seen_at"]) if moment is not None), default=None)


def _told(log: Row) -> datetime | None:
    """When the last entry that was read was written."""
    return parse_time(log["last_entry_at"]) if log["last_entry_at"] else None


def _end(month: date) -> datetime:
    return datetime.combine(end_of_month(month) + timedelta(days=1), time(0), LOCAL)


def _row(village: Village, verdict: MonthVerdict, cases: Sequence[VisitCase], waiver: Waiver | None) -> VillageMonth:
    visits = tuple(JudgedVisit(case, verdict.visits[case.facts.visit]) for case in cases)
    cells: dict[date, JudgedVisit] = {}
    for visit in sorted(visits, key=lambda visit: _BEST_FIRST.index(visit.verdict.state)):
        cells.setdefault(visit.case.facts.day, visit)
    return VillageMonth(village, verdict, visits, cells, waiver)


# JSON -----------------------------------------------------------------------------------------------------------------


def as_json(table: MonthTable, county: str) -> dict[str, Any]:
    """The answer of ``GET /api/coverage``: minutes whole, dates local, codes as text."""
    return {
        "county": county,
        "month": table.month.strftime("%Y-%m"),
        "practice": table.practice,
        "provisional": table.provisional,
        "sealed_on": table.sealed_on.isoformat(),
        "sealed_at": table.sealed_at.isoformat(timespec="seconds") if table.sealed_at else None,
        "made_at": table.made_at.isoformat(timespec="seconds"),
        "rules": table.rules.as_json(),
        "not_synced": [vehicle.vehicle for vehicle in table.silent],
        "totals": {state.value: len(table.of_state(state)) for state in MonthState},
        "villages": [_village_json(row) for row in table.rows],
    }


def _village_json(row: VillageMonth) -> dict[str, Any]:
    return {
        "code": row.village.code,
        "name": row.village.name,
        "township": row.village.township,
        "state": row.verdict.state.value,
        "counted": row.verdict.counted,
        "missing": row.verdict.missing,
        "flags": list(row.verdict.flags),
        "dwell_minutes": row.dwell_minutes,
        "encounters": row.encounters,
        "waiver": row.waiver.reason if row.waiver else None,
        "visits": [visit_json(visit) for visit in row.visits],
    }


def visit_json(visit: JudgedVisit) -> dict[str, Any]:
    facts, verdict, decision = visit.case.facts, visit.verdict, visit.case.proof.decision
    return {
        "visit": facts.visit,
        "vehicle": facts.vehicle,
        "day": facts.day.isoformat(),
        "state": verdict.state.value,
        "counted": verdict.counted,
        "reasons": list(verdict.reasons),
        "flags": list(verdict.flags),
        "dwell_minutes": visit.dwell_minutes,
        "encounters": len(visit.case.served),
        "outreach": facts.outreach,
        "staff": len({person for person, _ in facts.staff}),
        "witnesses": {one.name: one.agrees for one in visit.case.proof.witnesses},
        "decision": None
        if decision is None
        else {
            "decision": decision.decision,
            "reason": decision.reason,
            "by": decision.by,
            "at": decision.at.isoformat(),
        },
        "merged_into": facts.merged_into,
        "practice": visit.case.record.practice,
    }
