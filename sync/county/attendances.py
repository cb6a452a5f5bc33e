"""Whom each day of each visit served, screened and found: one row for each registration, kept beside the tables, so
that the people of a month or of years are counted by the database, once each, whichever van they came to.

Worked out anew for a visit whenever an entry about it is read (``interpretation.py``), in the same transaction, under
``registrations.PEOPLE_LOCK``: a person's rows may be of several journals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, and_, bindparam, delete, insert, or_, select, update

from sync.county.registrations import persons
from sync.county.same_person import Registration
from sync.county.schema import attendances, projected
from sync.county.visit_work import COUNTED_FROM, DISEASES, FOUND, NOT_SCREENED, RULES
from sync.formats.records import parse_time
from sync.proof.presence import local_day

BIT: Mapping[str, int] = {disease: 1 << place for place, disease in enumerate(DISEASES)}
_ENCOUNTERS, _RESULTS = projected["encounters"], projected["screening_results"]
_AT_ONCE = 200
"""Names in one query; SQLite takes a limited number of parameters."""
_PersonMonth = tuple[str, str]


class _Key(NamedTuple):
    visit: str
    patient: str
    day: str


def bits(diseases: Iterable[str]) -> int:
    return sum({BIT[disease] for disease in diseases})


def attend(connection: Connection, origin: str, rows: Mapping[str, Iterable[str]]) -> None:
    """Work out anew the visits of which rows were written, and what has no visit of the patients in them.

    :param rows: by table of ``COUNTED_FROM``, the names of the rows
    """
    visits, alone = _touched(connection, origin, rows)
    concerned: set[_PersonMonth] = set()
    for table_of, names in (("visit", visits), ("patient", alone)):
        for part in _parts(sorted(names)):
            concerned |= _anew(connection, origin, table_of, part)
    _mark_new(connection, concerned)


def move(connection: Connection, changed: Iterable[Registration]) -> None:
    """Registrations belong to another person than before."""
    some = set(changed)
    now = persons(connection, some)
    concerned: set[_PersonMonth] = set()
    for one in sorted(some):
        mine = and_(attendances.c.origin == one[0], attendances.c.patient == one[1])
        asked = select(attendances.c.person, attendances.c.month).where(mine).distinct()
        rows = connection.execute(asked).all()
        person = " ".join(now.get(one, one))
        concerned |= {(name, row.month) for row in rows for name in (row.person, person)}
        connection.execute(update(attendances).where(mine).values(person=person))
    _mark_new(connection, concerned)


def _touched(connection: Connection, origin: str, rows: Mapping[str, Iterable[str]]) -> tuple[set[str], set[str]]:
    """Visits, and patients of rows without one."""
    visits: set[str] = set()
    alone: set[str] = set()
    for name, written in rows.items():
        table, key = projected[name], COUNTED_FROM[name]
        for part in _parts(sorted(written)):
            of_them = select(table.c.visit, table.c.patient).where(table.c.origin == origin, table.c[key].in_(part))
            for row in connection.execute(of_them.distinct()):
                if row.visit:
                    visits.add(row.visit)
                elif row.patient:
                    alone.add(row.patient)
    return visits, alone


def _anew(connection: Connection, origin: str, by: str, names: Sequence[str]) -> set[_PersonMonth]:
    """:param by: "visit", or "patient" for what has no visit; returns whose months changed"""
    mine = and_(attendances.c.origin == origin, attendances.c[by].in_(names))
    if by == "patient":
        mine = and_(mine, attendances.c.visit == "")
    before = connection.execute(select(attendances.c.person, attendances.c.month).where(mine).distinct()).all()
    connection.execute(delete(attendances).where(mine))
    made = _made(connection, origin, by, names)
    people = persons(connection, {(origin, row["patient"]) for row in made})
    for row in made:
        row["person"] = " ".join(people.get((origin, row["patient"]), (origin, row["patient"])))
    if made:
        connection.execute(insert(attendances), made)
    return {(row.person, row.month) for row in before} | {(row["person"], row["month"]) for row in made}


def _made(connection: Connection, origin: str, by: str, names: Sequence[str]) -> list[dict[str, Any]]:
    served: dict[_Key, str] = {}
    for row in _rows(connection, _ENCOUNTERS, "opened_at", origin, by, names):
        key = _key(row, row.opened_at)
        served[key] = max(served.get(key, ""), row.opened_at)
    screened: dict[_Key, set[str]] = defaultdict(set)
    found: dict[_Key, set[str]] = defaultdict(set)
    for row in _rows(connection, _RESULTS, "at", origin, by, names):
        if row.rule in RULES and row.code and row.code not in NOT_SCREENED:
            screened[_key(row, row.at)].add(RULES[row.rule])
            if (row.rule, row.code) in FOUND:
                found[_key(row, row.at)].add(FOUND[row.rule, row.code])
    nothing = {"new_screened": 0, "new_found": 0}
    return [
        {"origin": origin, **key._asdict(), "month": key.day[:7], "served_at": served.get(key)}
        | {"screened": bits(screened.get(key, ())), "found": bits(found.get(key, ())), **nothing}
        for key in sorted({*served, *screened})
    ]


def _rows(connection: Connection, table: Table, at: str, origin: str, by: str, names: Sequence[str]) -> Iterator[Any]:
    """With a moment and a patient."""
    mine = and_(table.c.origin == origin, table.c[by].in_(names), table.c[at].is_not(None), table.c.patient != "")
    if by == "patient":
        mine = and_(mine, or_(table.c.visit.is_(None), table.c.visit == ""))
    return iter(connection.execute(select(table).where(mine)))


def _key(row: Any, at: str) -> _Key:
    return _Key(row.visit or "", row.patient, local_day(parse_time(at)).isoformat())


def _mark_new(connection: Connection, concerned: set[_PersonMonth]) -> None:
    """What is new in each row of these people and months; the earlier day comes first."""
    months: dict[str, list[str]] = defaultdict(list)
    for person, month in concerned:
        months[month].append(person)
    changes = []
    for month, people in sorted(months.items()):
        for part in _parts(sorted(people)):
            mine = select(attendances).where(attendances.c.person.in_(part), attendances.c.month == month)
            seen: dict[str, tuple[int, int]] = {}
            order = (attendances.c.person, attendances.c.day, attendances.c.origin, attendances.c.visit)
            for row in connection.execute(mine.order_by(*order, attendances.c.patient)):
                screened, found = seen.get(row.person, (0, 0))
                new = {"new_screened": row.screened & ~screened, "new_found": row.found & ~found}
                seen[row.person] = (screened | row.screened, found | row.found)
                if new != {name: getattr(row, name) for name in new}:
                    changes.append({f"of_{name}": getattr(row, name) for name in _NAMED} | new)
    if changes:
        connection.execute(_CHANGE, changes)


_NAMED = tuple(column.name for column in attendances.primary_key)
_CHANGE = update(attendances).where(*(attendances.c[name] == bindparam(f"of_{name}") for name in _NAMED))
_CHANGE = _CHANGE.values(new_screened=bindparam("new_screened"), new_found=bindparam("new_found"))


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[place : place + _AT_ONCE] for place in range(0, len(names), _AT_ONCE))
