"""The long tables of the acceptance report as they stand on paper for a large county: by township, or by month.

A sheet of A4 is drawn cell by cell, and each cell takes a millisecond and 30 kB: 600 villages over a year would be 70
sheets, half a minute and 1 GB. So a table of more than ``MOST_CELLS`` is added up on paper; the workbook inside that
file has every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from sync.county.acceptance_report import AcceptanceReport, Duty, Shortfall, VillageReport, added, whole_proof
from sync.county.acceptance_services import GROUPS
from sync.county.acceptance_tables import (
    Cell,
    Column,
    ReportTable,
    duty_cells,
    hours,
    month_cell,
    months_shown,
    of_whole,
    people_cell,
)
from sync.county.follow_up_report import shown_total
from sync.proof.presence import local_day
from sync.web.catalog import Texts

MOST_CELLS = 2500
"""Of one table on paper: 100 villages over twelve months."""
_LACKING = ("missed", "waived", "unsynced", "ahead")


def paper_tables(report: AcceptanceReport, tables: Sequence[ReportTable], t: Texts) -> tuple[ReportTable, ...]:
    """The report's tables, the long ones added up."""
    brief = _Brief(report, t)
    short: Mapping[str, Callable[[ReportTable], ReportTable]] = {
        "villages": brief.villages,
        "shortfalls": brief.shortfalls,
        "services-by-village": brief.services,
        "sealed": brief.sealed,
    }
    return tuple(
        short[table.name](table) if table.name in short and len(table.rows) * len(table.columns) > MOST_CELLS else table
        for table in tables
    )


class _Brief:
    def __init__(self, report: AcceptanceReport, t: Texts) -> None:
        self._report, self._t = report, t
        townships = groupby(report.villages, key=lambda one: one.village.township)
        self._townships = {name: list(villages) for name, villages in townships}

    def villages(self, table: ReportTable) -> ReportTable:
        """The columns of the long table, but devices: which of them were used is no sum."""
        rows = tuple(self._of_villages(name, villages) for name, villages in self._townships.items())
        drop = len(table.columns) - 2  # fully proven comes after it
        columns = self._by_township(table.columns[3:drop] + table.columns[drop + 1 :])
        total = (*table.total[:2], *table.total[3:drop], *table.total[drop + 1 :])
        return self._made(table, columns, rows, total)

    def shortfalls(self, table: ReportTable) -> ReportTable:
        """How many visits are lacking, and why."""
        lacking: dict[str, list[Shortfall]] = {name: [] for name in self._townships}
        for one in self._report.shortfalls:
            lacking.setdefault(one.village.township, []).append(one)
        rows = []
        for name, some in lacking.items():
            if some:
                duty = added(self._duty(one) for one in some)
                numbers = (len({one.village.code for one in some}), len(some))
                rows.append((Cell(name), *map(Cell, numbers), *_lacking(duty)))
        every = [one for some in lacking.values() for one in some]
        sums = (len({one.village.code for one in every}), len(every))
        total = (Cell(self._w("total")), *map(Cell, sums), *_lacking(added(map(self._duty, every))))
        heads = ("villages", "village_months", "missed", "waived", "lacking_unsynced", "lacking_ahead")
        columns = self._by_township(tuple(Column(self._w(head), "num") for head in heads), counted=False)
        return self._made(table, columns, tuple(rows), total)

    def services(self, table: ReportTable) -> ReportTable:
        by_group = [self._report.services.by_village(group) for group in GROUPS]
        rows = []
        for name, villages in self._townships.items():
            sums = (shown_total([by_village[one.village.code] for one in villages]) for by_village in by_group)
            rows.append((Cell(name), Cell(len(villages)), *map(people_cell, sums)))
        elsewhere = table.rows[len(self._report.villages) :]
        rows += [(row[1], Cell(""), *row[3:]) for row in elsewhere]
        return self._made(table, self._by_township(table.columns[3:]), tuple(rows))

    def sealed(self, table: ReportTable) -> ReportTable:
        """Of each month how many verdicts, and from which to which place in the registry."""
        rows = []
        for month in self._report.sealed:
            places = [n for one in month.townships for n, _ in one.entries]
            said = "seal_sealed" if month.townships else f"seal_{month.state}"
            days = sorted({local_day(one.at).isoformat() for one in month.townships} or {month.sealed_on.isoformat()})
            state = Cell(self._w(said, day=days[-1]), "met" if month.townships else "ahead")
            found = f"{min(places)}–{max(places)}" if places else "—"
            rows.append((Cell(f"{month.month:%Y-%m}"), state, Cell(len(month.townships)), Cell(found)))
        heads = (("month", "text"), ("seal", "text"), ("townships", "num"), ("entries", "num"))
        columns = tuple(Column(self._w(head), kind) for head, kind in heads)
        return self._made(table, columns, tuple(rows))

    # parts ------------------------------------------------------------------------------------------------------------

    def _of_villages(self, name: str, villages: Sequence[VillageReport]) -> tuple[Cell, ...]:
        months = months_shown(self._report)
        duties = [[one.months[month] for one in villages if month in one.months] for month in months]
        proven = whole_proof(villages)
        return (
            Cell(name),
            Cell(len(villages)),
            *(month_cell(added(of_month)) if of_month else Cell("") for of_month in duties),
            *duty_cells(added(one.duty for one in villages)),
            Cell(hours(sum(one.minutes for one in villages))),
            people_cell(shown_total([one.people for one in villages])),
            Cell(of_whole(proven.whole, proven.counted)),
        )

    def _duty(self, one: Shortfall) -> Duty:
        number = one.required - one.served
        name = one.kind if one.kind in _LACKING else "missed"
        return replace(Duty(), **{name: number})

    def _by_township(self, others: tuple[Column, ...], counted: bool = True) -> tuple[Column, ...]:
        first = (Column(self._w("township"), "zh"),)
        return (*first, *((Column(self._w("villages"), "num"),) if counted else ()), *others)

    def _made(
        self,
        table: ReportTable,
        columns: tuple[Column, ...],
        rows: tuple[tuple[Cell, ...], ...],
        total: tuple[Cell, ...] = (),
    ) -> ReportTable:
        note = self._w("brief_note", rows=len(table.rows), sheet=self._w(f"sheet_{table.name.replace('-', '_')}"))
        return ReportTable(table.name, table.title, columns, rows, total, (note, *table.notes))

    def _w(self, name: str, **facts: object) -> str:
        return self._t(f"county.acceptance.{name}", **facts)


def _lacking(duty: Duty) -> tuple[Cell, ...]:
    missed = Cell(duty.missed, "missed" if duty.missed else "")
    return missed, Cell(duty.waived), Cell(duty.unsynced), Cell(duty.ahead)
