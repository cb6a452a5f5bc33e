"""The acceptance report: what a period asked of the vans village by village, what was done, and how well it is proven.

Everything about visits comes out of the month tables, so that each number is the one of the coverage page; sealed
months as they were sealed. What was done for people is added up in ``acceptance_services.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from statistics import median_low
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from sync.county.acceptance_period import Period
from sync.county.acceptance_seals import SealedMonth, sealed_month
from sync.county.acceptance_services import Services, services_of
from sync.county.database import Database
from sync.county.link_report import LinkShares, shares_between
from sync.county.month_table import JudgedVisit, MonthTable, VillageMonth
from sync.county.registry_view import LogView, log_view
from sync.county.schema import checkpoints
from sync.proof.areas import Village
from sync.proof.coverage import MonthState, Rules, VisitState, end_of_month
from sync.proof.presence import local_day

if TYPE_CHECKING:
    from sync.county.app import County

DISEASES_WANTED = 3
"""Key diseases that the van must cover (MIIT and NHC, letter 190 of 2023, direction 3)."""


@dataclass(slots=True)
class Duty:
    """Visits that were asked for: ``required`` is the sum of all others but ``early``.

    :ivar served: counted visits, in no month more than are required; ``early`` of them in a month that is not over
    :ivar waived: not made where the village was excused
    :ivar unsynced: nothing is known, and a silent van may have been there
    :ivar ahead: not made yet, the month is not over
    """

    served: int = 0
    waived: int = 0
    missed: int = 0
    unsynced: int = 0
    ahead: int = 0
    early: int = 0

    @property
    def required(self) -> int:
        return self.served + self.waived + self.missed + self.unsynced + self.ahead

    @property
    def due(self) -> int:
        """Required in months that are over, without what was excused."""
        return self.on_time + self.missed + self.unsynced

    @property
    def on_time(self) -> int:
        """Served of those due."""
        return self.served - self.early

    @property
    def percent(self) -> int | None:
        """Served of those due, rounded down: 100 are all of them. None where nothing is due yet."""
        return 100 * self.on_time // self.due if self.due else None

    def __add__(self, other: Duty) -> Duty:
        both = {name: getattr(self, name) + getattr(other, name) for name in Duty.__dataclass_fields__}
        return Duty(**both)


@dataclass(slots=True)
class Proven:
    """Of ``counted`` visits, how many of them have each kind of proof.

    :ivar track: the van's own track lies in the village for long enough
    :ivar witnesses: as many independent witnesses agree as the rules want
    :ivar countersigned: the county cosigned the journal before and after, at most 72 h apart
    :ivar province: the province's witness cosigned the journal with the whole visit
    :ivar whole: track, witnesses and countersignatures, all three
    :ivar decided: a person answers for what the machine could not tell
    """

    counted: int = 0
    track: int = 0
    witnesses: int = 0
    countersigned: int = 0
    province: int = 0
    whole: int = 0
    decided: int = 0

    def add(self, visit: JudgedVisit, rules: Rules, province: bool) -> None:
        proof = visit.case.proof
        agreeing = sum(one.agrees is True and one.name != "gnss" for one in proof.witnesses)
        track = (visit.case.facts.dwell_s or 0) >= rules.dwell_s and bool(visit.case.stays)
        witnesses, countersigned = agreeing >= rules.witnesses, not visit.case.bracket.weak
        self.counted += 1
        self.track += track
        self.witnesses += witnesses
        self.countersigned += countersigned
        self.province += province
        self.whole += track and witnesses and countersigned
        self.decided += visit.case.facts.decision == "counted"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A village and month that did not get all its visits.

    :ivar kind: "waived", "unsynced", "tried" (visits that do not count), "none" or, a month that is not over, "ahead"
    :ivar reasons: why visits that were made do not count, each once
    :ivar waiver: why the village was excused
    """

    month: date
    village: Village
    served: int
    required: int
    kind: str
    reasons: tuple[str, ...] = ()
    waiver: str = ""


@dataclass(slots=True)
class VillageReport:
    """:ivar months: by their first days
    :ivar minutes: in the village, of all visits; ``people`` served in them, somebody who came twice counted twice
    """

    village: Village
    months: dict[date, Duty] = field(default_factory=dict)
    minutes: int = 0
    people: int = 0
    proven: Proven = field(default_factory=Proven)

    @property
    def duty(self) -> Duty:
        return added(self.months.values())


@dataclass(slots=True)
class VanReport:
    """:ivar visits: all that were made; ``not_counted`` of them by their first reason, the most frequent first"""

    vehicle: str
    visits: int = 0
    minutes: int = 0
    people: int = 0
    villages: set[str] = field(default_factory=set)
    proven: Proven = field(default_factory=Proven)
    not_counted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AcceptanceReport:
    """:ivar since: day of the county's first visit; before its month nothing was asked for
    :ivar rules: of each month that is reported; ``stays_minutes``: of every counted visit
    :ivar registry: the newest checkpoint of the registry; None while nothing was written
    """

    period: Period
    practice: bool
    today: date
    since: date | None
    rules: Mapping[date, Rules]
    villages: tuple[VillageReport, ...]
    vans: tuple[VanReport, ...]
    shortfalls: tuple[Shortfall, ...]
    stays_minutes: tuple[int, ...]
    services: Services
    link: LinkShares
    sealed: tuple[SealedMonth, ...]
    registry: LogView | None

    @property
    def duty(self) -> Duty:
        return added(village.duty for village in self.villages)

    @property
    def proven(self) -> Proven:
        return whole_proof(self.villages)

    @property
    def minutes(self) -> int:
        return sum(village.minutes for village in self.villages)

    @property
    def shortest_minutes(self) -> int | None:
        return min(self.stays_minutes, default=None)

    @property
    def median_minutes(self) -> int | None:
        return median_low(self.stays_minutes) if self.stays_minutes else None

    @property
    def begins_late(self) -> bool:
        """The first visit was made in a later month than the period's first."""
        return self.since is not None and self.period.last >= self.since > end_of_month(self.period.first)

    @property
    def over(self) -> bool:
        """The last month has ended."""
        return self.today > self.period.last


def added(duties: Iterable[Duty]) -> Duty:
    return sum(duties, Duty())


def whole_proof(villages: Iterable[VillageReport]) -> Proven:
    whole = Proven()
    for village in villages:
        for name in Proven.__dataclass_fields__:
            setattr(whole, name, getattr(whole, name) + getattr(village.proven, name))
    return whole


def acceptance_report(county: County, period: Period, practice: bool) -> AcceptanceReport:
    """The months of the period that have begun, from the county's first visit on.

    Of later months nothing is known yet; before the first visit no van was asked for any.
    """
    today = local_day(county.clock.now())
    since = county.visits.first_day(practice)
    begun = [month for month in period if since is not None and since <= end_of_month(month) and month <= today]
    reading = _Reading(_witnessed(county.database))
    rules, sealed = {}, []
    for month in begun:  # one table at a time: each has all visits of its month with their proofs
        table = county.coverage.table(month, practice)
        for row in table.rows:
            reading.village_month(month, table, row)
        rules[month] = table.rules
        sealed.append(sealed_month(county.registry, table))
    return AcceptanceReport(
        period=period,
        practice=practice,
        today=today,
        since=since,
        rules=rules,
        villages=reading.ordered(),
        vans=tuple(sorted(reading.vans.values(), key=lambda van: van.vehicle)),
        shortfalls=tuple(reading.shortfalls),
        stays_minutes=tuple(reading.stays_minutes),
        services=services_of(county.database, period, practice),
        link=shares_between(county.database, period.first, period.last, practice),
        sealed=tuple(sealed),
        registry=log_view(county.database, county.registry),
    )


class _Reading:
    """:param witnessed: by origin, how many of its entries the province's witness has cosigned"""

    def __init__(self, witnessed: Mapping[str, int]) -> None:
        self._witnessed = witnessed
        self._villages: dict[str, VillageReport] = {}
        self.vans: dict[str, VanReport] = {}
        self.shortfalls: list[Shortfall] = []
        self.stays_minutes: list[int] = []

    def village_month(self, month: date, table: MonthTable, row: VillageMonth) -> None:
        known = self._villages.setdefault(row.village.code, VillageReport(row.village))
        known.village = row.village  # of a village that was renamed, the later name
        known.months[month] = duty = duty_of(row, table)
        known.minutes += row.dwell_minutes
        known.people += row.encounters
        if duty.served < duty.required:
            self.shortfalls.append(_shortfall(row, month, duty))
        for visit in row.visits:
            self._visit(visit, known, table.rules)

    def ordered(self) -> tuple[VillageReport, ...]:
        """By township, in the order of the codes."""
        townships: dict[str, list[VillageReport]] = {}
        for _, one in sorted(self._villages.items()):
            townships.setdefault(one.village.township, []).append(one)
        return tuple(one for rows in townships.values() for one in rows)

    def _visit(self, visit: JudgedVisit, village: VillageReport, rules: Rules) -> None:
        if visit.verdict.state is VisitState.MERGED:
            return
        record = visit.case.record
        vehicle = record.origin.partition(".")[0]
        van = self.vans.setdefault(vehicle, VanReport(vehicle))
        van.visits += 1
        van.minutes += visit.dwell_minutes
        van.people += len(visit.case.served)
        van.villages.add(village.village.code)
        if visit.verdict.counted:
            province = self._witnessed.get(record.origin, 0) > visit.case.proof.evidence.last
            self.stays_minutes.append(visit.dwell_minutes)
            for proven in (van.proven, village.proven):
                proven.add(visit, rules, province)
        else:
            why = next(iter(visit.verdict.reasons), visit.verdict.state.value)
            van.not_counted[why] = van.not_counted.get(why, 0) + 1


def duty_of(row: VillageMonth, table: MonthTable) -> Duty:
    """What one month asked of a village. A visit more than required makes up for none in another month."""
    required = table.rules.visits_per_month
    served = min(row.verdict.counted, required)
    lacking = required - served
    over = table.today > table.days[-1]
    early = 0 if over else served
    if row.waiver is not None:
        return Duty(served, waived=lacking, early=early)
    if not over:
        return Duty(served, ahead=lacking, early=early)
    if row.verdict.state is MonthState.NOT_SYNCED:
        return Duty(served, unsynced=lacking)
    return Duty(served, missed=lacking)


def _shortfall(row: VillageMonth, month: date, duty: Duty) -> Shortfall:
    told = [visit.verdict.reasons for visit in row.visits if not visit.verdict.counted]
    reasons = tuple(dict.fromkeys(reason for reasons in told for reason in reasons))
    kind = "waived" if duty.waived else "ahead" if duty.ahead else "unsynced" if duty.unsynced else ""
    return Shortfall(
        month=month,
        village=row.village,
        served=duty.served,
        required=duty.required,
        kind=kind or ("tried" if told else "none"),
        reasons=reasons,
        waiver=row.waiver.reason if row.waiver else "",
    )


def _witnessed(database: Database) -> dict[str, int]:
    """By origin, the size of the largest checkpoint that the province's witness has cosigned."""
    largest = select(checkpoints.c.origin, func.max(checkpoints.c.size).label("size"))
    seen = largest.where(checkpoints.c.witnessed_at.is_not(None)).group_by(checkpoints.c.origin)
    return {row["origin"]: row["size"] for row in database.rows(seen)}
