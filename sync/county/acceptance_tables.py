"""The acceptance report as tables in one language: the same on the page, on paper and in the workbook.

Whoever reads it, no number of people from one to four is told, nor a sum that tells one: the report leaves the house.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from urllib.parse import urlencode

from devices import catalog
from sync.county.acceptance_period import Period
from sync.county.acceptance_report import DISEASES_WANTED, AcceptanceReport, Duty, Proven, VanReport, VillageReport
from sync.county.acceptance_services import GROUPS, Kind, UsedDevice
from sync.county.follow_up_report import SMALL, shown, shown_total
from sync.county.link_report import Share
from sync.county.programme_sheets import word
from sync.county.visit_words import work
from sync.formats.link_figures import MOST_RTT_MS, NEEDED_KBIT_S
from sync.proof.areas import Village
from sync.proof.presence import local_day
from sync.web.catalog import Texts

MOST_MONTH_COLUMNS = 12
PROOFS = ("counted", "track", "witnesses", "countersigned", "province", "whole", "decided")


class Cell(NamedTuple):
    """:ivar state: how it stands, for those who draw it: "met", "missed", "waived", "ahead", "unsynced" or nothing
    :ivar to: the page with the visits behind it, for those who may open it; empty for none
    """

    value: str | int
    state: str = ""
    to: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """:ivar kind: "text", "num", "code" (letters of one width) or "zh" (a name that stays Chinese)"""

    head: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class ReportTable:
    """:ivar name: one word, for addresses and tests
    :ivar total: below the rows; empty for none
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()


def hours(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02d}"


def period_name(period: Period, t: Texts) -> str:
    if period.kind == "quarter":
        return t("county.acceptance.quarter", year=period.first.year, quarter=period.first.month // 3 + 1)
    if period.kind == "year":
        return t("county.acceptance.year", year=period.first.year)
    if period.months == 1:
        return t("county.month_title", year=period.first.year, month=period.first.month)
    return t("county.acceptance.months", first=f"{period.first:%Y-%m}", last=f"{period.last:%Y-%m}")


def report_tables(report: AcceptanceReport, t: Texts) -> tuple[ReportTable, ...]:
    """In the order of the page."""
    making = _Making(report, t)
    return (
        making.targets(),
        making.villages(),
        making.shortfalls(),
        making.vans(),
        making.proofs(),
        making.services(),
        making.services_by_village(),
        making.devices(),
        making.sealed(),
    )


def months_shown(report: AcceptanceReport) -> tuple[date, ...]:
    """The months that have a column each; none where there are too many for it."""
    return tuple(report.rules) if len(report.rules) <= MOST_MONTH_COLUMNS else ()


def cautious_total(*parts: Sequence[int]) -> str:
    """The sum of one number that is told apart in several ways: as little as the most careful of them lets be told."""
    told = [shown_total(one) for one in parts]
    return next((one for one in told if not one.isdecimal()), told[0])


class _Making:
    def __init__(self, report: AcceptanceReport, t: Texts) -> None:
        self._report, self._t = report, t
        self._months = months_shown(report)

    def targets(self) -> ReportTable:
        """What the programme asks of a patrol van: each figure with whether it is reached."""
        report, duty = self._report, self._report.duty
        diseases = report.services.diseases
        stay = min((rules.dwell_s // 60 for rules in report.rules.values()), default=0)
        served = self._w("target_of", done=duty.on_time, of=duty.due, percent=_percent(duty.percent))
        so_far = self._w("target_so_far", served=duty.served, required=duty.required) if duty.required else ""
        named = self._t("county.list_comma").join(word("", one, self._t) for one in diseases)
        shortest, median = report.shortest_minutes, report.median_minutes
        stood = self._w("target_stay_found", median=hours(median), shortest=hours(shortest or 0)) if median else ""
        rows = (
            (
                self._w("target_visits"),
                self._w("target_visits_wanted", visits=self._visits_wanted()),
                served if duty.due else so_far,
                _met(duty.percent == 100, duty.due > 0) if duty.due or not duty.required else "ahead",
            ),
            (
                self._w("target_stay"),
                self._w("target_stay_wanted", minutes=stay),
                stood,
                _met((shortest or 0) >= stay, shortest is not None),
            ),
            (
                self._w("target_diseases"),
                self._w("target_diseases_wanted", count=DISEASES_WANTED),
                named,
                _met(len(diseases) >= DISEASES_WANTED, bool(diseases)),
            ),
            self._link_row("rates", self._w("target_rates_wanted", mbit_s=NEEDED_KBIT_S // 1000), report.link.rates),
            self._link_row("delay", self._w("target_delay_wanted", ms=MOST_RTT_MS), report.link.delay),
        )
        cells = tuple(
            (Cell(name), Cell(wanted), Cell(found or self._w("nothing_known")), Cell(self._w(f"is_{state}"), state))
            for name, wanted, found, state in rows
        )
        heads = tuple(Column(self._w(head)) for head in ("target", "wanted", "found", "reached"))
        return self._table("targets", heads, cells, notes=(self._w("target_note"),))

    def villages(self) -> ReportTable:
        """One row a village: its months, what was asked, done and left out, hours, people, devices, proof."""
        heads = [*self._places(), *(Column(f"{month:%Y-%m}", "num") for month in self._months)]
        names = ("required", "served", "missed", "waived", "open", "rate", "time", "people", "devices", "whole")
        heads += [Column(self._w(name), "num") for name in names]
        villages = self._report.villages
        rows = tuple(self._village(one) for one in villages)
        duty, people = self._report.duty, [one.people for one in villages]
        total = [
            *self._sum_of_places(),
            *(Cell(self._month_sum(month)) for month in self._months),
            *duty_cells(duty),
            Cell(hours(self._report.minutes)),
            people_cell(cautious_total(people, [van.people for van in self._report.vans])),
            Cell(len(self._report.services.devices)),
            Cell(of_whole(self._report.proven.whole, self._report.proven.counted)),
        ]
        notes = (self._w("villages_note"), self._w("months_note"), self._w("small_note", small=SMALL))
        return self._table("villages", tuple(heads), rows, tuple(total), notes)

    def shortfalls(self) -> ReportTable:
        """Village and month, and why."""
        t = self._t
        rows = []
        for one in self._report.shortfalls:
            why = t("county.list_comma").join(t(f"county.reason.{reason}") for reason in one.reasons)
            said = self._w(f"why_{one.kind}", reason=one.waiver)
            if why and one.kind != "waived":
                said += self._w("colon") + why if one.kind == "tried" else f" ({why})"
            state = _STATES.get(one.kind, "missed")
            short = Cell(f"{one.served}/{one.required}", state, self._to(one.month, one.village))
            where = (Cell(one.village.township), Cell(one.village.name), Cell(one.village.code))
            rows.append((Cell(f"{one.month:%Y-%m}"), *where, short, Cell(said)))
        heads = (Column(self._w("month")), *self._places(), Column(self._w("visits"), "num"), Column(self._w("why")))
        return self._table("shortfalls", heads, tuple(rows), notes=(self._w("shortfalls_note"),))

    def vans(self) -> ReportTable:
        names = ("visits_made", "counted", "villages", "time", "people", "devices")
        heads = (Column(self._w("van")), *(Column(self._w(name), "num") for name in names))
        vans, villages = self._report.vans, self._report.villages
        rows = tuple(self._van(van) for van in vans)
        total = (
            Cell(self._w("total")),
            Cell(sum(van.visits for van in vans)),
            Cell(self._report.proven.counted),
            Cell(len(set[str]().union(*(van.villages for van in vans)))),
            Cell(hours(sum(van.minutes for van in vans))),
            people_cell(cautious_total([van.people for van in vans], [one.people for one in villages])),
            Cell(len(self._report.services.devices)),
            Cell(""),
        )
        people = self._w("persons_note", persons=shown(self._report.services.people))
        return self._table("vans", (*heads, Column(self._w("not_counted"))), rows, total, (people,))

    def proofs(self) -> ReportTable:
        """How well the counted visits are proven."""
        heads = (Column(self._w("van")), *(Column(self._w(f"proof_{name}"), "num") for name in PROOFS))
        rows = tuple((Cell(van.vehicle), *_proof_cells(van.proven)) for van in self._report.vans)
        total = (Cell(self._w("total")), *_proof_cells(self._report.proven))
        wanted = sorted({rules.witnesses for rules in self._report.rules.values()})
        note = self._w("proof_note", witnesses="/".join(map(str, wanted)))
        return self._table("proofs", heads, rows, total, (note,))

    def services(self) -> ReportTable:
        """By kind and van."""
        services = self._report.services
        vans = sorted({where.vehicle for where, _ in services.times} | {van.vehicle for van in self._report.vans})
        rows = []
        for kind in services.kinds:
            by_van, by_place = services.by_vehicle(kind), services.by_place(kind)
            total = cautious_total(list(by_van.values()), list(by_place.values()))
            named = Cell(self._kind(kind))
            cells = (people_cell(shown(by_van[van])) for van in vans)
            rows.append((Cell(self._w(f"group_{kind.group}")), named, *cells, people_cell(total)))
        heads = (Column(self._w("group")), Column(self._w("service")), *(Column(van, "num") for van in vans))
        notes = (self._w("services_note"), self._w("small_note", small=SMALL))
        return self._table("services", (*heads, Column(self._w("total"), "num")), tuple(rows), notes=notes)

    def services_by_village(self) -> ReportTable:
        by_group = {group: self._report.services.by_village(group) for group in GROUPS}
        rows = [
            (*_place(one), *(people_cell(shown(by_group[group][one.village.code])) for group in GROUPS))
            for one in self._report.villages
        ]
        known = {one.village.code for one in self._report.villages}
        elsewhere = [sum(n for code, n in by_group[group].items() if code not in known) for group in GROUPS]
        if any(elsewhere):
            nowhere = (Cell(""), Cell(self._w("elsewhere")), Cell(""))
            rows.append((*nowhere, *(people_cell(shown(number)) for number in elsewhere)))
        heads = (*self._places(), *(Column(self._w(f"group_{group}"), "num") for group in GROUPS))
        notes = (self._w("services_note"), self._w("small_note", small=SMALL))
        return self._table("services-by-village", heads, tuple(rows), notes=notes)

    def devices(self) -> ReportTable:
        rows = tuple(
            (
                Cell(one.vehicle),
                Cell(self._title(one)),
                Cell(one.device),
                Cell(one.serial or "—"),
                Cell(one.times),
                Cell(one.visits),
            )
            for one in self._report.services.devices
        )
        heads = (
            Column(self._w("van")),
            Column(self._w("device")),
            Column(self._w("device_name"), "code"),
            Column(self._w("serial"), "code"),
            Column(self._w("times"), "num"),
            Column(self._w("in_visits"), "num"),
        )
        return self._table("devices", heads, rows, notes=(self._w("devices_note"),))

    def sealed(self) -> ReportTable:
        """Each month's verdicts with their places in the registry and their hashes."""
        rows: list[tuple[Cell, ...]] = []
        for month in self._report.sealed:
            name = Cell(f"{month.month:%Y-%m}")
            if not month.townships:
                said = self._w(f"seal_{month.state}", day=month.sealed_on.isoformat())
                rows.append((name, Cell("—"), Cell(said, "ahead"), Cell("—"), Cell("—")))
            for one in month.townships:
                day = local_day(one.at).isoformat()
                later = self._w("seal_supersedes", n=one.supersedes) if one.supersedes is not None else ""
                for n, leaf in one.entries:
                    said = self._w("seal_sealed", day=day) + later
                    rows.append((name, Cell(one.township), Cell(said, "met"), Cell(n), Cell(leaf.hex())))
        heads = (
            Column(self._w("month")),
            Column(self._w("township"), "zh"),
            Column(self._w("seal")),
            Column(self._w("entry"), "num"),
            Column(self._w("leaf"), "code"),
        )
        return self._table("sealed", heads, tuple(rows), notes=(self._w("sealed_note"),))

    # parts ------------------------------------------------------------------------------------------------------------

    def _village(self, one: VillageReport) -> tuple[Cell, ...]:
        devices = self._report.services.devices_in.get(one.village.code, 0)
        return (
            *_place(one),
            *(month_cell(one.months.get(month))._replace(to=self._to(month, one.village)) for month in self._months),
            *duty_cells(one.duty),
            Cell(hours(one.minutes)),
            people_cell(shown(one.people)),
            Cell(devices),
            Cell(of_whole(one.proven.whole, one.proven.counted)),
        )

    def _to(self, month: date, village: Village) -> str:
        """The village's row in the month table, where each day leads to its visit."""
        asked = {"month": f"{month:%Y-%m}", "practice": int(self._report.practice), "township": village.township}
        return f"/county/coverage?{urlencode(asked)}#village-{village.code}"

    def _van(self, van: VanReport) -> tuple[Cell, ...]:
        devices = sum(one.vehicle == van.vehicle for one in self._report.services.devices)
        numbers = (
            van.visits,
            van.proven.counted,
            len(van.villages),
            hours(van.minutes),
            people_cell(shown(van.people)).value,
            devices,
        )
        why = sorted(van.not_counted.items(), key=lambda item: (-item[1], item[0]))
        told = self._t("county.list_comma").join(f"{self._reason(reason)} {times}" for reason, times in why)
        return (Cell(van.vehicle), *map(Cell, numbers), Cell(told))

    def _reason(self, reason: str) -> str:
        key = f"county.reason.{reason}"
        return self._t(key) if key in self._t else self._t(f"county.visit_state.{reason}")

    def _kind(self, kind: Kind) -> str:
        if kind.group == "measured":
            return work(f"reading_{kind.name}", self._t)
        return word("", kind.name, self._t) if kind.name else self._w(f"group_{kind.group}")

    def _title(self, one: UsedDevice) -> str:
        if one.title:
            return one.title
        if catalog.drivers().get(one.driver) is None:
            return one.driver or "—"
        about = catalog.about(one.driver)
        return about.title_en if self._t.language == "en" else about.title_zh

    def _month_sum(self, month: date) -> str:
        duties = [one.months[month] for one in self._report.villages if month in one.months]
        return f"{sum(duty.served for duty in duties)}/{sum(duty.required for duty in duties)}"

    def _visits_wanted(self) -> str:
        return "/".join(str(n) for n in sorted({rules.visits_per_month for rules in self._report.rules.values()}))

    def _link_row(self, name: str, wanted: str, share: Share) -> tuple[str, str, str, str]:
        told = self._w("target_of", done=share.good, of=share.measured, percent=_percent(share.percent))
        return (
            self._w(f"target_{name}"),
            wanted,
            told if share.measured else "",
            _met(share.percent == 100, share.measured > 0),
        )

    def _places(self) -> tuple[Column, ...]:
        names = (("township", "zh"), ("village", "zh"), ("code", "code"))
        return tuple(Column(self._w(name), kind) for name, kind in names)

    def _sum_of_places(self) -> tuple[Cell, ...]:
        return Cell(self._w("total")), Cell(self._w("villages_count", count=len(self._report.villages))), Cell("")

    def _table(
        self,
        name: str,
        columns: tuple[Column, ...],
        rows: tuple[tuple[Cell, ...], ...],
        total: tuple[Cell, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> ReportTable:
        return ReportTable(name, self._w(f"title_{name.replace('-', '_')}"), columns, rows, total, notes)

    def _w(self, name: str, **facts: object) -> str:
        return self._t(f"county.acceptance.{name}", **facts)


_STATES: Mapping[str, str] = {"waived": "waived", "ahead": "ahead", "unsynced": "unsynced"}
_MARKS: Mapping[str, str] = {"waived": "*", "unsynced": "?", "ahead": "…"}


def _place(one: VillageReport) -> tuple[Cell, Cell, Cell]:
    return Cell(one.village.township), Cell(one.village.name), Cell(one.village.code)


def duty_cells(duty: Duty) -> tuple[Cell, ...]:
    missed = Cell(duty.missed, "missed" if duty.missed else "")
    return (
        Cell(duty.required),
        Cell(duty.served),
        missed,
        Cell(duty.waived),
        Cell(duty.unsynced + duty.ahead),
        Cell(_percent(duty.percent)),
    )


def month_cell(duty: Duty | None) -> Cell:
    """ "1/2", and a mark where what is lacking was not missed; empty while the village was not there yet."""
    if duty is None:
        return Cell("")
    lacking: tuple[tuple[str, Callable[[Duty], int]], ...] = (
        ("waived", lambda one: one.waived),
        ("unsynced", lambda one: one.unsynced),
        ("ahead", lambda one: one.ahead),
    )
    state = next((name for name, number in lacking if number(duty)), "missed" if duty.missed else "met")
    return Cell(f"{duty.served}/{duty.required}{_MARKS.get(state, '')}", state)


def people_cell(number: str) -> Cell:
    """A number of people: a number where it is exact."""
    return Cell(int(number) if number.isdecimal() else number)


def _proof_cells(proven: Proven) -> tuple[Cell, ...]:
    return tuple(Cell(getattr(proven, name)) for name in PROOFS)


def _met(reached: bool, known: bool) -> str:
    return ("met" if reached else "missed") if known else "unknown"


def of_whole(part: int, whole: int) -> str:
    return f"{part}/{whole}"


def _percent(percent: int | None) -> str:
    return "—" if percent is None else f"{percent}%"
