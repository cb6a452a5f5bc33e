"""Villages to hurry for: without a visit from day 15, with too few from day 25; which van goes there, whom to call.

Which villages these are says ``MonthTable.hurry``; a van is a village's that visited it last. From the first day on
also those that will not have all their visits by the forecast (``visit_forecast.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select

from sync.county.database import Database
from sync.county.month_table import MonthTable, VillageMonth
from sync.county.office_sheet import office_sheet
from sync.county.schema import logs, projected
from sync.county.village_contacts import Contact
from sync.county.visit_forecast import Forecast
from sync.formats.records import format_time, parse_time
from sync.proof.coverage import MonthState
from sync.proof.presence import local_day
from sync.web.catalog import Texts

KINDS = ("zero", "tried", "few", "unsynced", "forecast", "waived")
"""No visit; visits of which none counted; some are missing; a silent van may have been there; some will be missing by
the forecast, and it is early in the month; need not be visited."""
LOOKED_BACK = timedelta(days=185)
"""A van that was not there in half a year is not the village's van."""
_VISITS = projected["visits"]


@dataclass(frozen=True, slots=True)
class LastVisit:
    """:ivar vehicle: short id, e.g. "van-07" """

    vehicle: str
    day: date


@dataclass(frozen=True, slots=True)
class VillageWarning:
    """:ivar last: None where no van was in half a year; :ivar contact: None where nobody is named
    :ivar forecast: None where no visit is missing, or the month is not running
    :ivar early: here because of the forecast alone
    """

    row: VillageMonth
    last: LastVisit | None
    contact: Contact | None
    forecast: Forecast | None = None
    early: bool = False

    @property
    def kind(self) -> str:
        """Of ``KINDS``."""
        state = self.row.verdict.state
        if state is MonthState.WAIVED:
            return "waived"
        if self.early:
            return "forecast"
        if self.row.verdict.counted:
            return "few"
        if state is MonthState.NOT_SYNCED:
            return "unsynced"
        return "tried" if self.row.visits else "zero"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why visits did not count, each once."""
        told = [visit.verdict.reasons for visit in self.row.visits if not visit.verdict.counted]
        return tuple(dict.fromkeys(reason for reasons in told for reason in reasons))


@dataclass(frozen=True, slots=True)
class TownshipWarnings:
    """How many of a township's villages are done, have none, have too few.

    A waived one, and one that a silent van may have visited, is neither of the last two.
    """

    township: str
    villages: int
    done: int
    zero: int
    few: int


def warnings_of(
    table: MonthTable,
    last: Mapping[str, LastVisit],
    contacts: Mapping[str, Contact],
    forecasts: Mapping[str, Forecast] | None = None,
) -> list[VillageWarning]:
    """The worst first, then those that are here by the forecast alone; those that need not be visited at the end."""
    foretold = forecasts or {}
    hurry = table.hurry()
    hurried = {row.village.code for row in hurry}
    early = [row for row in table.rows if row.village.code in foretold and foretold[row.village.code].misses]
    early = [row for row in early if row.village.code not in hurried]
    ordered = sorted([*hurry, *early], key=lambda row: row.verdict.state is MonthState.WAIVED)
    return [
        VillageWarning(row, last.get(code), contacts.get(code), foretold.get(code), code not in hurried)
        for row in ordered
        for code in [row.village.code]
    ]


def by_township(table: MonthTable, warned: Sequence[VillageWarning]) -> list[TownshipWarnings]:
    """Every township of the table; those with most villages to hurry for first."""
    found = []
    for township, rows in table.townships().items():
        of_it = [one.kind for one in warned if one.row.village.township == township]
        done = sum(row.verdict.state is MonthState.DONE for row in rows)
        zero = of_it.count("zero") + of_it.count("tried")
        found.append(TownshipWarnings(township, len(rows), done, zero, of_it.count("few")))
    return sorted(found, key=lambda one: (-one.zero, -one.few, one.township))


def last_visits(database: Database, practice: bool, until: datetime) -> dict[str, LastVisit]:
    """By the code of the village: who opened a visit there last, before ``until``."""
    origins = [row["origin"] for row in database.rows(select(logs.c.origin).where(logs.c.practice == practice))]
    between = _VISITS.c.opened_at.between(format_time(until - LOOKED_BACK), format_time(until))
    newest = (
        select(_VISITS.c.origin, _VISITS.c.village, func.max(_VISITS.c.opened_at).label("at"))
        .where(_VISITS.c.origin.in_(origins), between)
        .group_by(_VISITS.c.origin, _VISITS.c.village)
    )
    found = sorted((row["at"], row["origin"], row["village"] or "") for row in database.rows(newest))
    return {village: LastVisit(origin.partition(".")[0], local_day(parse_time(at))) for at, origin, village in found}


def warnings_xlsx(table: MonthTable, warned: Sequence[VillageWarning], county: str, t: Texts) -> bytes:
    """One row a village, to be worked off by telephone."""
    names = (
        "township",
        "village",
        "code",
        "counted",
        "wanted",
        "why",
        "forecast",
        "last",
        "vehicle",
        "contact",
        "phone",
    )
    heads = [t(f"county.warnings.{name}") for name in names]
    mark = f" {t('county.practice_mark')}" if table.practice else ""
    title = t("county.warnings.sheet_title", county=county, year=table.month.year, month=table.month.month) + mark
    note = t("county.warnings.sheet_note", day=table.today.isoformat(), visits=table.rules.visits_per_month)
    return office_sheet(title, t("county.warnings.sheet"), heads, [_cells(table, one, t) for one in warned], [note])


def _cells(table: MonthTable, one: VillageWarning, t: Texts) -> list[str | int]:
    village, verdict = one.row.village, one.row.verdict
    return [
        village.township,
        village.name,
        village.code,
        verdict.counted,
        table.rules.visits_per_month,
        why(one, t),
        forecast_words(one.forecast, t) if one.forecast else "",
        one.last.day.isoformat() if one.last else "",
        one.last.vehicle if one.last else "",
        one.contact.name if one.contact else "",
        one.contact.phone if one.contact else "",
    ]


def why(one: VillageWarning, t: Texts) -> str:
    """In words: what is missing, and why what was done does not count."""
    tried = len(one.row.visits) - one.row.verdict.counted
    waiver = one.row.waiver.reason if one.row.waiver else ""
    said = t(f"county.warnings.kind_{one.kind}", missing=one.row.verdict.missing, tried=tried, reason=waiver)
    told = t("county.list_comma").join(t(f"county.reason.{reason}") for reason in one.reasons)
    return f"{said}{t('county.warnings.colon')}{told}" if told and one.kind != "waived" else said


def forecast_words(one: Forecast, t: Texts) -> str:
    """On which days the van can come, or why there is none."""
    days = t("county.list_comma").join(f"{day:%m-%d}" for day in one.days)
    planned = t("county.forecast.days", van=one.van, days=days) if days else ""
    if not one.misses:
        return planned
    missed = t("county.forecast.misses", misses=one.misses, why=t(f"county.forecast.why_{one.why}", van=one.van))
    return f"{planned}{t('county.forecast.then')}{missed}" if planned else missed
