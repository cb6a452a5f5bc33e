"""What was done in each visit as numbers of people: kept beside the tables, so that a year of work is added up at once.

Counted anew for a visit whenever an entry about it is read (``interpretation.py``), in the same transaction. Somebody
who is screened in two visits is counted in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Integer, String, case, delete, distinct, func, insert, literal, select

from sync.county.diseases import FOUND_BY_RULE, SYMPTOMS
from sync.county.schema import projected, visit_work
from sync.screening.evaluator import INSUFFICIENT, INVALID, NOT_APPLICABLE

SERVED = "served"
FOUND: Mapping[tuple[str, str], str] = {**FOUND_BY_RULE, **SYMPTOMS}
"""(rule, its code): the disease that the result points at."""
RULES: Mapping[str, str] = {rule: disease for (rule, _), disease in FOUND.items()}
"""The disease that a rule screens for; each has one."""
DISEASES = tuple(dict.fromkeys(RULES.values()))
_ENCOUNTERS, _RESULTS = projected["encounters"], projected["screening_results"]
COUNTED_FROM: Mapping[str, str] = {_ENCOUNTERS.name: "encounter", _RESULTS.name: "result"}
"""Tables that the numbers are counted from, with the column that names a row within its journal."""
NOT_SCREENED = (INSUFFICIENT, INVALID, NOT_APPLICABLE)
_AT_ONCE = 300
"""Names in one query; SQLite takes a limited number of parameters."""


def count_work(connection: Connection, origin: str, rows: Mapping[str, Iterable[str]]) -> None:
    """Count the visits anew of which rows were written.

    :param rows: by table of ``COUNTED_FROM``, the names of the rows
    """
    visits: set[str] = set()
    for name, written in rows.items():
        table, key = projected[name], COUNTED_FROM[name]
        for part in _parts(sorted(written)):
            of_them = select(table.c.visit).distinct().where(table.c.origin == origin, table.c[key].in_(part))
            visits |= {visit for visit in connection.execute(of_them).scalars() if visit}
    for part in _parts(sorted(visits)):
        mine = (visit_work.c.origin == origin) & visit_work.c.visit.in_(part)
        connection.execute(delete(visit_work).where(mine))
        _count(connection, origin, part)


def _count(connection: Connection, origin: str, visits: list[str]) -> None:
    columns = ["origin", "visit", "what", "people", "found"]
    of = (_ENCOUNTERS.c.origin == origin) & _ENCOUNTERS.c.visit.in_(visits) & _ENCOUNTERS.c.opened_at.is_not(None)
    served = (
        select(
            _ENCOUNTERS.c.origin,
            _ENCOUNTERS.c.visit,
            literal(SERVED, String),
            func.count(distinct(_ENCOUNTERS.c.patient)),
            literal(0, Integer),
        )
        .where(of)
        .group_by(_ENCOUNTERS.c.origin, _ENCOUNTERS.c.visit)
    )
    connection.execute(insert(visit_work).from_select(columns, served))
    disease = case(dict(RULES), value=_RESULTS.c.rule)
    found = case(*(((_RESULTS.c.rule == rule) & (_RESULTS.c.code == code), _RESULTS.c.patient) for rule, code in FOUND))
    screened = (
        select(
            _RESULTS.c.origin,
            _RESULTS.c.visit,
            disease,
            func.count(distinct(_RESULTS.c.patient)),
            func.count(distinct(found)),
        )
        .where(
            _RESULTS.c.origin == origin,
            _RESULTS.c.visit.in_(visits),
            _RESULTS.c.rule.in_(list(RULES)),
            _RESULTS.c.code.not_in(NOT_SCREENED),
        )
        .group_by(_RESULTS.c.origin, _RESULTS.c.visit, disease)
    )
    connection.execute(insert(visit_work).from_select(columns, screened))


def _parts(names: list[str]) -> Iterable[list[str]]:
    return (names[place : place + _AT_ONCE] for place in range(0, len(names), _AT_ONCE))
