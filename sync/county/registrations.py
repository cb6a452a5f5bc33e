"""Which registrations are one person, kept beside the tables so that a county's people can be counted by the database.

``same_people`` holds whoever has more than one registration (``same_person.py`` says who that is); everybody else is
the person of his one registration. Worked out anew for those whom a batch of entries touches, and for all whom they
share a document, a link or a person with, in the transaction that reads the batch. Practice and real journals never
share a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, or_, select
from sqlalchemy.sql.elements import Label

from sync.county.same_person import Registration, SamePeople, documents_of
from sync.county.schema import logs, projected, same_people
from sync.record.person_links import LINKED, UNLINKED, PersonLinks

PEOPLE_LOCK = "people"
"""Under which registrations become one person: those of several journals at once."""
_PATIENTS, _NOTES = projected["patients"], projected["access_log"]
_TOLD = ("origin", "patient", "name", "sex", "born_on", "id_kind", "id_last4", "id_hash", "registered_at")
_AT_ONCE = 200
"""Names in one query; SQLite takes a limited number of parameters."""


def person_of(table: Table) -> Label[str]:
    """The person of a row with ``origin`` and ``patient``, when ``same_people`` is joined (``beside_same``)."""
    first = [func.coalesce(same_people.c[f"first_{name}"], table.c[name]) for name in ("origin", "patient")]
    return first[0].concat(" ").concat(first[1]).label("person")


def is_same(table: Any) -> ColumnElement[bool]:
    """For an outer join of ``same_people`` to a table with ``origin`` and ``patient``."""
    return and_(same_people.c.origin == table.c.origin, same_people.c.patient == table.c.patient)


def persons(connection: Connection, some: Iterable[Registration]) -> dict[Registration, Registration]:
    """The oldest registration of each one's person, of those that are not their own."""
    found: dict[Registration, Registration] = {}
    for row in _of_registrations(connection, same_people, set(some)):
        found[row["origin"], row["patient"]] = (row["first_origin"], row["first_patient"])
    return found


def relink(connection: Connection, touched: Iterable[Registration]) -> set[Registration]:
    """Work out anew who ``touched`` are; returns the registrations that belong to another person than before."""
    rows, before, links = _concerned(connection, set(touched))
    after: dict[Registration, Registration] = {}
    for practice in (False, True):
        of_kind = [row for one, row in rows.items() if bool(row["practice"]) is practice]
        same = SamePeople(of_kind, links)
        firsts = {(row["origin"], row["patient"]): same.first(row["origin"], row["patient"]) for row in of_kind}
        shared = {first for one, first in firsts.items() if one != first}
        after |= {one: first for one, first in firsts.items() if first in shared}
    changed = {one for one in {*before, *after} if before.get(one, one) != after.get(one, one)}
    renewed = changed | (before.keys() ^ after.keys())
    for origin, patients in _by_origin(renewed):
        mine = and_(same_people.c.origin == origin, same_people.c.patient.in_(patients))
        connection.execute(delete(same_people).where(mine))
    new = [
        {"origin": one[0], "patient": one[1], "first_origin": after[one][0], "first_patient": after[one][1]}
        for one in sorted(renewed & after.keys())
    ]
    if new:
        connection.execute(insert(same_people), new)
    return changed


def linked_in(notes: Iterable[tuple[str, str]]) -> set[str]:
    """The registrations that notes (action, what) of one van's access log link or take apart."""
    return {name for action, what in notes if action in (LINKED, UNLINKED) for name in what.split(" ", 1)}


def of_person(connection: Connection, origin: str) -> set[Registration]:
    """Registrations that share a person with one of ``origin``, and its own."""
    firsts = select(same_people.c.first_origin, same_people.c.first_patient).where(
        or_(same_people.c.origin == origin, same_people.c.first_origin == origin)
    )
    return {
        (row.origin, row.patient) for row in _together(connection, {tuple(row) for row in connection.execute(firsts)})
    }


# whom it concerns -----------------------------------------------------------------------------------------------------


def _concerned(
    connection: Connection, touched: set[Registration]
) -> tuple[dict[Registration, dict[str, Any]], dict[Registration, Registration], dict[str, PersonLinks]]:
    """Everybody who shares anything with ``touched``: their rows, who they were so far, and what their vans link."""
    rows: dict[Registration, dict[str, Any]] = {}
    before: dict[Registration, Registration] = {}
    links: dict[str, PersonLinks] = {}
    seen_documents: set[tuple[str, ...]] = set()
    seen: set[Registration] = set()
    asked = set(touched)
    while asked:
        seen |= asked
        firsts = set(persons(connection, asked).values())
        for row in _together(connection, firsts):
            before[row.origin, row.patient] = (row.first_origin, row.first_patient)
        near = {one for one in before if one not in seen}
        for origin, patient in asked:
            if origin not in links:
                links[origin] = _links(connection, origin)
            near |= {(origin, other) for other in links[origin].beside(patient)}
        found = {(row["origin"], row["patient"]): row for row in _of_registrations(connection, _known(), asked)}
        rows |= found
        told = {document for row in found.values() for document in documents_of(row)} - seen_documents
        seen_documents |= told
        near |= set(_with_documents(connection, told))
        asked = near - seen
    return rows, before, links


def _known() -> Any:
    """Registrations with whether their journal is practice."""
    columns = [_PATIENTS.c[name] for name in _TOLD]
    both = _PATIENTS.join(logs, logs.c.origin == _PATIENTS.c.origin)
    return select(*columns, logs.c.practice).select_from(both).subquery("known")


def _links(connection: Connection, origin: str) -> PersonLinks:
    asked = select(_NOTES.c.action, _NOTES.c.what).where(
        _NOTES.c.origin == origin, _NOTES.c.action.in_((LINKED, UNLINKED))
    )
    return PersonLinks((row.action, row.what) for row in connection.execute(asked.order_by(_NOTES.c.n)))


def _together(connection: Connection, firsts: set[Any]) -> Iterator[Any]:
    for origin, patients in _by_origin(firsts):
        mine = and_(same_people.c.first_origin == origin, same_people.c.first_patient.in_(patients))
        yield from connection.execute(select(same_people).where(mine))


def _of_registrations(connection: Connection, table: Any, some: set[Registration]) -> Iterator[dict[str, Any]]:
    for origin, patients in _by_origin(some):
        mine = select(table).where(table.c.origin == origin, table.c.patient.in_(patients))
        yield from (dict(row) for row in connection.execute(mine).mappings())


def _with_documents(connection: Connection, told: set[tuple[str, ...]]) -> Iterator[Registration]:
    """Registrations that say one of the documents, and some more."""
    hashes = sorted(document[1] for document in told if document[0] == "hash")
    numbers = sorted({(document[4], document[3]) for document in told if document[0] != "hash"})
    wanted: list[ColumnElement[bool]] = [_PATIENTS.c.id_hash.in_(part) for part in _parts(hashes)]
    wanted += [
        or_(*(and_(_PATIENTS.c.id_last4 == last4, _PATIENTS.c.born_on == born_on) for last4, born_on in part))
        for part in _parts(numbers)
    ]
    for condition in wanted:
        for row in connection.execute(select(_PATIENTS.c.origin, _PATIENTS.c.patient).where(condition)):
            yield row.origin, row.patient


def _by_origin(some: Iterable[Registration]) -> Iterator[tuple[str, list[str]]]:
    """Patients by origin, as many as one query takes, in an order of their own."""
    grouped: dict[str, list[str]] = {}
    for origin, patient in sorted(some):
        grouped.setdefault(origin, []).append(patient)
    return ((origin, list(part)) for origin, patients in grouped.items() for part in _parts(patients))


def _parts(names: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (names[place : place + _AT_ONCE] for place in range(0, len(names), _AT_ONCE))
