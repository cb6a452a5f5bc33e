"""Lists that a county keeps by hand today: chronic diseases, monitored households, symptoms of infectious diseases, red
values and how soon they were closed.

A person registered twice on one van and linked there, or by one document on two vans, is one person here
(``registrations.py``). Severe mental illness is on none of these lists (Mental Health Law, art. 4). Village and
township of somebody are those of the last visit that served them.

The database counts, sorts and picks; lines come one after another, so that a list takes no more memory for a large
county than for a small one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Label,
    Select,
    String,
    Subquery,
    Table,
    and_,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from sync.county.attendances import BIT
from sync.county.database import Database, Row
from sync.county.diseases import FOUND_BY_RULE, SYMPTOMS
from sync.county.red_values import closed, closing_of
from sync.county.registrations import is_same
from sync.county.schema import attendances, logs, projected, same_people
from sync.formats.records import parse_time
from sync.proof.presence import local_day

LISTS = ("chronic", "poverty", "infectious", "critical")
IN_TIME_MINUTES = 10
"""A red value counts as closed in time within so many minutes (project choice; hospitals ask for 10 to 30)."""
_KNOWN, _PROGRAMME, _SCREENING = "known", "programme", "screening"
_BEST_FIRST = {_KNOWN: 1, _PROGRAMME: 2, _SCREENING: 3}
_PATIENTS, _VISITS = projected["patients"], projected["visits"]
_TOLD = ("name", "sex", "born_on", "id_last4", "phone", "address")


@dataclass(frozen=True, slots=True)
class Person:
    origin: str
    patient: str
    """The oldest of their registrations, of whichever van."""
    name: str = ""
    sex: str = ""
    born_on: str = ""
    id_last4: str = ""
    phone: str = ""
    address: str = ""
    village: str = ""
    """12 digits; empty when no visit served them."""
    village_name: str = ""
    township: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a list: a person and what puts them on it."""

    person: Person
    what: str
    """Disease, symptom, or kind of red value."""
    source: str
    """known, programme, screening; of a red value the action that closed it, empty while it is open."""
    on: date
    household: str = ""
    """Kind of monitored household."""
    minutes: int | None = None
    """Of a red value: until it was closed."""


@dataclass(frozen=True, slots=True)
class VillageCount:
    """How many different people of a village are on a list, by what puts them there; ``village`` may be empty."""

    village: str
    village_name: str
    township: str
    what: str
    people: int


class ProgrammeLists:
    """
    :param practice: of journals of practice, or of real ones
    """

    def __init__(self, database: Database, practice: bool) -> None:
        self._database = database
        wanted = select(logs.c.origin).where(logs.c.practice == practice)
        self._origins = [row["origin"] for row in database.rows(wanted)]
        self._told_by: dict[str, Callable[[], Select[Any]]] = {
            "chronic": self._ill,
            "poverty": lambda: self._watched(self._ill()),
            "infectious": self._infectious,
            "critical": self._critical,
        }
        """Each with what puts people on the list, from all sources."""
        self._lines: dict[str, Callable[[], Select[Any]]] = {
            **self._told_by,
            "chronic": self._chronic,
            "poverty": lambda: self._watched(self._chronic()),
        }

    def lines(self, name: str) -> Iterator[Line]:
        """By village and person, read on while they are used.

        :param name: of ``LISTS``
        """
        found = self._lines[name]().subquery("found")
        village = _village_of(found).label("village")
        people = found.join(_PATIENTS, _is_person(found))
        query = select(found, village, *(_PATIENTS.c[one] for one in _TOLD)).select_from(people)
        places = self._places()
        order = (func.coalesce(village, ""), found.c.patient, found.c.what, found.c.at)
        for row in self._database.stream(query.order_by(*order)):
            yield _line(row, places)

    def people(self, name: str) -> int:
        """How many different people are on a list."""
        found = self._told_by[name]().subquery("found")
        each = select(found.c.origin, found.c.patient).distinct()
        return self._number(each.select_from(found.join(_PATIENTS, _is_person(found))))

    def counts(self, name: str) -> list[VillageCount]:
        """By village and what puts people on the list."""
        found = self._told_by[name]().subquery("found")
        each = select(found.c.origin, found.c.patient, found.c.what).distinct()
        each = each.select_from(found.join(_PATIENTS, _is_person(found)))
        once = each.cte("each").prefix_with("MATERIALIZED")  # read twice
        people = select(once.c.origin, once.c.patient).distinct().subquery("people")
        at_home = select(people, _village_of(people).label("village"))
        homes = at_home.cte("homes").prefix_with("MATERIALIZED")  # looked up once for each person
        same = and_(homes.c.origin == once.c.origin, homes.c.patient == once.c.patient)
        keys = (homes.c.village, once.c.what)
        counted = select(*keys, func.count().label("people")).select_from(once.join(homes, same)).group_by(*keys)
        places = self._places()
        found_there = []
        for row in self._database.rows(counted):
            village = row["village"] or ""
            found_there.append(VillageCount(village, *places.get(village, ("", "")), row["what"], row["people"]))
        return sorted(found_there, key=lambda one: (one.village, one.what))

    def closed_in_time(self) -> tuple[int, int, int]:
        """Of red values: (how many, closed in time, not closed at all)."""
        every = in_time = still_open = 0
        found = self._critical().subquery("found")
        people = found.join(_PATIENTS, _is_person(found))
        for row in self._database.stream(select(found.c.at, found.c.closing).select_from(people)):
            done = closed(row["at"], row["closing"])
            every += 1
            in_time += done is not None and done.minutes <= IN_TIME_MINUTES
            still_open += done is None
        return every, in_time, still_open

    def people_served(self, since: date) -> int:
        """How many different people were served from that day on, whichever van they came to."""
        served = and_(
            attendances.c.origin.in_(self._origins),
            attendances.c.served_at.is_not(None),
            attendances.c.day >= since.isoformat(),
        )
        return self._number(select(attendances.c.person).where(served).distinct())

    # what is on them --------------------------------------------------------------------------------------------------

    def _chronic(self) -> Select[Any]:
        """Each disease of a person once: known before in a programme, in a programme before found by screening."""
        each = self._ill().subquery("each")
        columns = [each.c[name] for name in ("origin", "patient", "what", "at", "source")]
        best = (each.c.rank, each.c.at.desc())
        order = func.row_number().over(partition_by=columns[:3], order_by=best).label("place")
        ordered = select(*columns, order).subquery("ordered")
        return select(*(ordered.c[column.name] for column in columns)).where(ordered.c.place == 1)

    def _ill(self) -> Select[Any]:
        """The diseases of people, once for each source that knows of them."""
        each = union_all(self._known(), self._in_programmes(), *self._screened(FOUND_BY_RULE)).subquery("ill")
        return select(each)

    def _watched(self, diseases: Select[Any]) -> Select[Any]:
        """Those of people with a serious or chronic disease in households that are watched against poverty."""
        members, watched = projected["household_members"], projected["household_monitoring"]
        same_home = and_(watched.c.origin == members.c.origin, watched.c.household == members.c.household)
        person = _person(members)
        newest = func.row_number().over(partition_by=person, order_by=members.c.since.desc()).label("place")
        homes = select(*person, watched.c.category, newest).select_from(members.join(watched, same_home))
        homes = homes.outerjoin(same_people, is_same(members))
        at_home = homes.where(members.c.origin.in_(self._origins), watched.c.category != "none").subquery("homes")
        ill = diseases.subquery("diseases")
        of_person = and_(at_home.c.origin == ill.c.origin, at_home.c.patient == ill.c.patient, at_home.c.place == 1)
        return select(ill, at_home.c.category.label("household")).select_from(ill.join(at_home, of_person))

    def _infectious(self) -> Select[Any]:
        """A symptom of a person once a day."""
        each = union_all(*self._screened(SYMPTOMS)).subquery("each")
        return select(*(each.c[name] for name in ("origin", "patient", "what", "at", "source"))).distinct()

    def _critical(self) -> Select[Any]:
        """Each red value with what closes it: readings, and findings of an ECG or ultrasound."""
        actions, readings, findings = (
            projected[name] for name in ("critical_actions", "readings", "critical_findings")
        )
        measured = and_(readings.c.origin == actions.c.origin, readings.c.reading == actions.c.reading)
        seen = and_(findings.c.origin == actions.c.origin, findings.c.finding == actions.c.reading)
        sources = actions.outerjoin(readings, measured).outerjoin(findings, seen)
        return (
            select(
                *_person(actions),
                func.coalesce(findings.c.what, readings.c.type, "").label("what"),
                actions.c.at.label("at"),
                closing_of(actions).label("closing"),
            )
            .select_from(sources.outerjoin(same_people, is_same(actions)))
            .where(actions.c.origin.in_(self._origins), actions.c.action == "found")
        )

    # where it stands --------------------------------------------------------------------------------------------------

    def _known(self) -> Select[Any]:
        table = projected["conditions"]
        return self._told(table, table.c.condition, table.c.since, _KNOWN, table.c.state == "known")

    def _in_programmes(self) -> Select[Any]:
        table = projected["programme_memberships"]
        listed = and_(table.c.state == "member", table.c.programme.in_(("hypertension", "diabetes")))
        return self._told(table, table.c.programme, table.c.since, _PROGRAMME, listed)

    def _screened(self, codes: Mapping[tuple[str, str], str]) -> Iterable[Select[Any]]:
        """Somebody's days with a result that points at a disease."""
        something = attendances.c.found > literal_column("0")  # as the index of those rows says it
        for disease in dict.fromkeys(codes.values()):
            this = attendances.c.found.bitwise_and(literal_column(str(BIT[disease]))) != 0
            what: ColumnElement[str] = literal(disease, String)
            yield self._told(attendances, what, attendances.c.day, _SCREENING, and_(something, this))

    def _told(
        self, table: Table, what: ColumnElement[Any], at: ColumnElement[Any], source: str, wanted: ColumnElement[bool]
    ) -> Select[Any]:
        """:param at: a moment, or a day"""
        rank: Label[int] = literal_column(str(_BEST_FIRST[source])).label("rank")
        said = (what.label("what"), at.label("at"), literal(source, String).label("source"), rank)
        both = table.outerjoin(same_people, is_same(table))
        return select(*_person(table), *said).select_from(both).where(table.c.origin.in_(self._origins), wanted)

    def _places(self) -> dict[str, tuple[str, str]]:
        """Village -> its name and township, as visits say them."""
        said = (func.max(_VISITS.c.village_name).label("name"), func.max(_VISITS.c.township).label("township"))
        of_vans = select(_VISITS.c.village, *said).where(_VISITS.c.origin.in_(self._origins))
        rows = self._database.rows(of_vans.group_by(_VISITS.c.village))
        return {row["village"]: (row["name"] or "", row["township"] or "") for row in rows if row["village"]}

    def _number(self, each: Select[Any]) -> int:
        row = self._database.row(select(func.count().label("number")).select_from(each.subquery("counted")))
        return int(row["number"]) if row else 0


def _person(table: Table) -> tuple[ColumnElement[str], ColumnElement[str]]:
    """The oldest registration of a row's person, where ``same_people`` is joined."""
    origin = func.coalesce(same_people.c.first_origin, table.c.origin).label("origin")
    return origin, func.coalesce(same_people.c.first_patient, table.c.patient).label("patient")


def _is_person(found: Subquery) -> ColumnElement[bool]:
    return and_(_PATIENTS.c.origin == found.c.origin, _PATIENTS.c.patient == found.c.patient)


def _village_of(found: Subquery) -> ColumnElement[str]:
    """The village of the last visit that served a person."""
    visit = and_(_VISITS.c.origin == attendances.c.origin, _VISITS.c.visit == attendances.c.visit)
    person = found.c.origin.concat(" ").concat(found.c.patient)
    served = and_(attendances.c.person == person, attendances.c.served_at.is_not(None))
    last = select(_VISITS.c.village).select_from(attendances.join(_VISITS, visit)).where(served)
    return last.order_by(attendances.c.day.desc(), attendances.c.served_at.desc()).limit(1).scalar_subquery()


def _line(row: Row, places: Mapping[str, tuple[str, str]]) -> Line:
    told = {name: str(row[name] or "") for name in _TOLD}
    village = row["village"] or ""
    name, township = places.get(village, ("", ""))
    where = {"village": village, "village_name": name, "township": township}
    person = Person(row["origin"], row["patient"], **told, **where)
    on = _day(row["at"])
    if "closing" not in row:
        return Line(person, row["what"], row["source"], on, row.get("household", ""))
    done = closed(row["at"], row["closing"])
    return (
        Line(person, row["what"], done.action, on, minutes=done.minutes) if done else Line(person, row["what"], "", on)
    )


def _day(at: str) -> date:
    """Of a moment or of a day as the tables have it."""
    return date.fromisoformat(at) if len(at) == 10 else local_day(parse_time(at))
