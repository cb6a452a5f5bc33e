"""The numbers of the work page as they may be shown to somebody, on the page, as a sheet and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sync.county.follow_up_report import SMALL, shown, shown_once, shown_total
from sync.county.office_sheet import office_sheet
from sync.county.programme_lists import IN_TIME_MINUTES
from sync.county.programme_sheets import word
from sync.county.visit_work import DISEASES
from sync.county.work_report import Tally, WorkReport
from sync.web.catalog import Texts


@dataclass(frozen=True, slots=True)
class Column:
    """:ivar name: of its words ``county.workload.<name>``, and of the records behind it (``work_records.KINDS``)
    :ivar people: whether a small number may tell somebody
    :ivar once: of people who are counted once in each row, so that rows do not add up
    """

    name: str
    number: Callable[[Tally], int]
    people: bool = True
    once: bool = False


SERVED = (
    Column("visits", lambda tally: tally.visits, people=False),
    Column("served", lambda tally: tally.served),
)
LOOPS = (
    Column("critical", lambda tally: tally.critical),
    Column("in_time", lambda tally: tally.in_time),
    Column("open_critical", lambda tally: tally.open_critical),
    Column("sent", lambda tally: tally.sent),
    Column("arrived", lambda tally: tally.arrived),
    Column("result", lambda tally: tally.result),
    Column("overdue", lambda tally: tally.overdue),
    Column("consultations", lambda tally: tally.consultations),
    Column("unsigned_opinions", lambda tally: tally.unsigned_opinions),
    Column("ecgs", lambda tally: tally.ecgs),
    Column("unsigned_ecgs", lambda tally: tally.unsigned_ecgs),
)
FOLLOW_UPS = (
    Column("follow_members", lambda tally: tally.follow_ups.members),
    Column("follow_due", lambda tally: tally.follow_ups.due),
    Column("follow_overdue", lambda tally: tally.follow_ups.overdue),
)


def screened(disease: str) -> Column:
    return Column("screened", lambda tally: tally.screened.get(disease, 0), once=True)


def found(disease: str) -> Column:
    return Column("found", lambda tally: tally.found.get(disease, 0), once=True)


@dataclass(frozen=True, slots=True)
class Showing:
    """:ivar exact: small numbers of people as they are; else as "<5", and no sum that tells them"""

    report: WorkReport
    exact: bool

    def cell(self, column: Column, tally: Tally) -> str:
        number = column.number(tally)
        return str(number) if self.exact or not column.people else shown(number)

    def total(self, column: Column) -> str:
        """Of all rows; "—" for people over twelve months, who would be counted once in each."""
        parts = self.report.parts(column.number)
        if column.once:
            every = self.report.screening
            if every is None:
                return "—" if any(parts) else "0"
            number = column.number(every)
            return str(number) if self.exact else shown_once(parts, number)
        return str(sum(parts)) if self.exact or not column.people else shown_total(parts)

    def minutes(self, answered: Sequence[int], what: Callable[[Sequence[int]], int]) -> str:
        """Of times that belong to few people nothing is told."""
        return str(what(answered)) if answered and (self.exact or len(answered) >= SMALL) else "—"

    @property
    def follow_ups(self) -> tuple[Column, ...]:
        """They are of today, so they have no place beside past months."""
        return FOLLOW_UPS if self.report.by != "month" else ()


def work_xlsx(showing: Showing, county: str, t: Texts, median: Callable[[Sequence[int]], int]) -> bytes:
    """One row for each township, van or month and one with the sums; numbers are numbers where they are exact."""
    report = showing.report
    columns: list[tuple[str, Column]] = [(t(f"county.workload.{one.name}"), one) for one in SERVED]
    for disease in DISEASES:
        name = word("", disease, t)
        columns += [(f"{name} {t('county.workload.' + one.name)}", one) for one in (screened(disease), found(disease))]
    columns += [(t(f"county.workload.{one.name}"), one) for one in (*LOOPS, *showing.follow_ups)]
    heads = [t(f"county.workload.by_{report.by}"), *(head for head, _ in columns)]
    heads += [t("county.workload.median"), t("county.workload.worst")]
    rows: list[list[str | int]] = []
    for name, tally in report.rows.items():
        times = [showing.minutes(tally.answered_minutes, of) for of in (median, max)]
        cells = [showing.cell(column, tally) for _, column in columns]
        rows.append([name or t("county.workload.no_place"), *map(_number, (*cells, *times))])
    times = [showing.minutes(report.all_minutes, of) for of in (median, max)]
    rows.append([t("county.workload.all"), *map(_number, (*(showing.total(column) for _, column in columns), *times))])
    mark = f" {t('county.practice_mark')}" if report.practice else ""
    title = t(
        "county.workload.sheet_title", county=county, first=report.first.isoformat(), last=report.last.isoformat()
    )
    notes = [t("county.workload.sheet_note", minutes=IN_TIME_MINUTES)]
    if not showing.exact:
        notes.append(t("county.workload.small", small=SMALL))
    return office_sheet(title + mark, t("county.workload.sheet"), heads, rows, notes)


def as_json(showing: Showing, county: str) -> dict[str, Any]:
    """The same numbers as the page, as text."""
    report = showing.report

    def told(tally: Tally) -> dict[str, Any]:
        return {
            **{one.name: showing.cell(one, tally) for one in (*SERVED, *LOOPS, *showing.follow_ups)},
            "screening": {
                disease: {one.name: showing.cell(one, tally) for one in (screened(disease), found(disease))}
                for disease in DISEASES
            },
        }

    return {
        "county": county,
        "by": report.by,
        "first": report.first.isoformat(),
        "last": report.last.isoformat(),
        "practice": report.practice,
        "in_time_minutes": IN_TIME_MINUTES,
        "rows": {name: told(tally) for name, tally in report.rows.items()},
    }


def _number(text: str) -> str | int:
    return int(text) if text.isdecimal() else text
