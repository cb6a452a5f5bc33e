"""Lists that a county keeps by hand today: chronic diseases, monitored households, symptoms of infectious diseases, red
values and how soon they were closed.

A person registered twice on one van and linked there, or by one document on two vans, is one person here
(``same_person.py``). Severe mental illness is on none of these lists (Mental Health Law, art. 4). Village and township
of somebody are those of the last visit that served them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import select

from sync.county.database import Database, Row
from sync.county.red_values import closed_red_values
from sync.county.same_person import Registration, SamePeople
from sync.county.schema import logs, projected
from sync.formats.records import parse_time
from sync.proof.presence import local_day
from sync.record.person_links import LINKED, UNLINKED, PersonLinks

LISTS = ("chronic", "poverty", "infectious", "critical")
FOUND_BY_RULE: dict[tuple[str, str], str] = {
    ("BP-GRADE", "HTN1"): "hypertension",
    ("BP-GRADE", "HTN2"): "hypertension",
    ("BP-GRADE", "HTN3"): "hypertension",
    ("GLU-SCREEN", "DM_RANGE"): "diabetes",
    ("GLU-SCREEN", "RANDOM_HIGH"): "diabetes",
    ("COPD-SQ", "HIGH_RISK"): "copd",
    ("AF-SCREEN", "AF_ECG"): "atrial_fibrillation",
}
"""(rule, its code): the disease that a screening result points at; a result is no diagnosis and the list says so."""
SYMPTOMS: dict[tuple[str, str], str] = {
    ("TB-SYMPTOM", "SUSPECT"): "tuberculosis",
    ("TB-SYMPTOM", "DOCTOR_JUDGE"): "tuberculosis",
    ("ECHINO-CE", "ACTIVE"): "echinococcosis",
    ("ECHINO-CE", "TRANSITIONAL"): "echinococcosis",
    ("ECHINO-CE", "INACTIVE"): "echinococcosis",
    ("ECHINO-CE", "UNDIFFERENTIATED"): "echinococcosis",
    ("ECHINO-CE", "ALVEOLAR"): "echinococcosis",
    ("TEMP", "FEVER"): "fever",
    ("TEMP", "HIGH_FEVER"): "fever",
}
"""For the line list. The legal report is made in the national direct-report system, not here."""
SERIOUS = frozenset({"stroke", "kidney", "cancer", "echinococcosis"})
IN_TIME_MINUTES = 10
"""A red value counts as closed in time within so many minutes (project choice; hospitals ask for 10 to 30)."""


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


@dataclass(slots=True)
class _People:
    """The persons of all vans whose journals are (or are not) practice."""

    same: SamePeople
    rows: dict[Registration, Person] = field(default_factory=dict)
    served_on: dict[Registration, date] = field(default_factory=dict)
    """Day of the last encounter."""

    def of(self, row: Row) -> Person | None:
        """The person of a row with ``origin`` and ``patient``; None for other journals."""
        return self.rows.get(self.same.first(row["origin"], row["patient"] or ""))


class ProgrammeLists:
    """
    :param practice: of journals of practice, or of real ones
    """

    def __init__(self, database: Database, practice: bool) -> None:
        self._database = database
        wanted = select(logs.c.origin).where(logs.c.practice == practice)
        self._origins = {row["origin"] for row in database.rows(wanted)}
        self._people = self._read_people()

    def lines(self, name: str) -> list[Line]:
        """:param name: of ``LISTS``"""
        made = {
            "chronic": self._chronic,
            "poverty": self._poverty,
            "infectious": self._infectious,
            "critical": self._critical,
        }[name]
        return sorted(made(), key=lambda line: (line.person.village, line.person.patient, line.what, line.on))

    def people_served(self, since: date) -> int:
        """How many different people were served from that day on, whichever van they came to."""
        return sum(day >= since for day in self._people.served_on.values())

    def _chronic(self) -> Iterable[Line]:
        """Each disease of a person once: known before in a programme, in a programme before found by screening."""
        found: dict[tuple[str, str, str], Line] = {}
        for line in (*self._screened(FOUND_BY_RULE), *self._in_programmes(), *self._known()):
            found[(line.person.origin, line.person.patient, line.what)] = line
        return found.values()

    def _poverty(self) -> Iterable[Line]:
        """People with a serious or chronic disease in households that are watched against poverty."""
        watched = {
            (row["origin"], row["household"]): row["category"]
            for row in self._rows("household_monitoring")
            if row["category"] != "none"
        }
        homes: dict[tuple[str, str], str] = {}
        for row in self._rows("household_members"):
            person = self._people.of(row)
            category = watched.get((row["origin"], row["household"] or ""))
            if person is not None and category:
                homes[(person.origin, person.patient)] = category
        for line in self._chronic():
            category = homes.get((line.person.origin, line.person.patient))
            if category:
                yield Line(line.person, line.what, line.source, line.on, category)

    def _infectious(self) -> Iterable[Line]:
        return self._screened(SYMPTOMS)

    def _critical(self) -> Iterable[Line]:
        """Each red value with the minutes until something was done that closes it: readings, and findings of an ECG or
        ultrasound."""
        kinds = {(row["origin"], row["reading"]): row["type"] or "" for row in self._rows("readings")}
        kinds |= {(row["origin"], row["finding"]): row["what"] or "" for row in self._rows("critical_findings")}
        closed = closed_red_values(self._database, sorted(self._origins), since="")
        for row in self._rows("critical_actions", order="n"):
            person, at = self._people.of(row), parse_time(row["at"])
            if person is None or row["action"] != "found":
                continue
            key = (row["origin"], row["reading"])
            done = closed.get(key)
            minutes = max(0, int((parse_time(done.at) - at).total_seconds() // 60)) if done else None
            yield Line(person, kinds.get(key, ""), done.action if done else "", local_day(at), minutes=minutes)

    # where it stands

    def _known(self) -> Iterable[Line]:
        for row in self._rows("conditions"):
            person = self._people.of(row)
            if person is not None and row["state"] == "known":
                yield Line(person, row["condition"], "known", _day(row["since"]))

    def _in_programmes(self) -> Iterable[Line]:
        for row in self._rows("programme_memberships"):
            person = self._people.of(row)
            if person is not None and row["state"] == "member" and row["programme"] in ("hypertension", "diabetes"):
                yield Line(person, row["programme"], "programme", _day(row["since"]))

    def _screened(self, codes: Mapping[tuple[str, str], str]) -> Iterable[Line]:
        """The newest result of a person and day that points at something, one line for each."""
        found: dict[tuple[str, str, str, date], Line] = {}
        for row in self._rows("screening_results", order="at"):
            what = codes.get((row["rule"], row["code"]))
            person = self._people.of(row)
            if what is not None and person is not None:
                line = Line(person, what, "screening", _day(row["at"]))
                found[(person.origin, person.patient, what, line.on)] = line
        return found.values()

    def _rows(self, name: str, order: str = "") -> Iterable[Row]:
        table = projected[name]
        asked = select(table) if not order else select(table).order_by(table.c[order])
        return (row for row in self._database.rows(asked) if row["origin"] in self._origins)

    def _read_people(self) -> _People:
        notes: dict[str, list[tuple[str, str]]] = {}
        log = projected["access_log"]
        linked = select(log.c.origin, log.c.action, log.c.what).where(log.c.action.in_((LINKED, UNLINKED)))
        for row in self._database.rows(linked.order_by(log.c.origin, log.c.n)):
            notes.setdefault(row["origin"], []).append((row["action"], row["what"]))
        links = {origin: PersonLinks(told) for origin, told in notes.items()}
        registered = list(self._rows("patients"))
        people = _People(SamePeople(registered, links))
        places = self._places(people)
        for row in registered:
            key = (row["origin"], row["patient"])
            told = {name: str(row[name] or "") for name in ("name", "sex", "born_on", "id_last4", "phone", "address")}
            people.rows[key] = Person(row["origin"], row["patient"], **told, **places.get(key, {}))
        return people

    def _places(self, people: _People) -> dict[Registration, dict[str, str]]:
        """Oldest registration -> village of the last visit that served the person."""
        visits = {(row["origin"], row["visit"]): row for row in self._rows("visits")}
        places: dict[Registration, dict[str, str]] = {}
        for row in self._rows("encounters", order="opened_at"):
            if not row["patient"] or not row["opened_at"]:
                continue
            person = people.same.first(row["origin"], row["patient"])
            people.served_on[person] = local_day(parse_time(row["opened_at"]))
            visit = visits.get((row["origin"], row["visit"] or ""))
            if visit is None:
                continue
            places[person] = {name: visit[name] or "" for name in ("village", "village_name", "township")}
        return places


def closed_in_time(lines: Iterable[Line]) -> tuple[int, int, int]:
    """Of red values: (how many, closed in time, not closed at all)."""
    told = list(lines)
    in_time = sum(line.minutes is not None and line.minutes <= IN_TIME_MINUTES for line in told)
    return len(told), in_time, sum(line.minutes is None for line in told)


def _day(at: Any) -> date:
    """Of a moment or of a day as the tables have it."""
    text = str(at)
    return date.fromisoformat(text) if len(text) == 10 else local_day(parse_time(text))
