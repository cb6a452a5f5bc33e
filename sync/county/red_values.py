"""When red values were closed, and by what: referred, consulted, refused, or measured again."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, Table, and_, case, func, literal, or_, select

from sync.county.schema import projected
from sync.formats.critical_actions import ENDING, MEASURED_AGAIN
from sync.formats.records import parse_time

_ACTIONS, _READINGS = projected["critical_actions"], projected["readings"]


class Closed(NamedTuple):
    """:ivar minutes: whole, from the finding on; never negative"""

    action: str
    minutes: int


def closing_of(found: Table) -> ColumnElement[str]:
    """Of a row of critical actions that finds a red value: moment and action of what closed it first, as one text for
    ``closed``; NULL while it is open."""
    ended, repeated = _ACTIONS.alias("ended"), _ACTIONS.alias("repeated")
    by_action = (
        select(func.min(ended.c.at.concat(" ").concat(ended.c.action)))
        .where(_same(ended, found), ended.c.action.in_(sorted(ENDING)))
        .correlate(found)
        .scalar_subquery()
    )
    measured, again = _READINGS.alias("measured"), _READINGS.alias("again")
    same_kind = and_(
        again.c.origin == measured.c.origin,
        again.c.encounter == measured.c.encounter,
        again.c.type == measured.c.type,
        again.c.confirmed_at > repeated.c.at,
        again.c.rejected_at.is_(None),
    )
    by_reading = (
        select(func.min(again.c.confirmed_at.concat(literal(f" {MEASURED_AGAIN}", String))))
        .select_from(repeated.join(measured, _same(repeated, measured)).join(again, same_kind))
        .where(_same(repeated, found), repeated.c.action == "repeated")
        .correlate(found)
        .scalar_subquery()
    )
    later = and_(by_reading.is_not(None), or_(by_action.is_(None), by_reading < by_action))
    return case((later, by_reading), else_=by_action)


def closed(found_at: str, closing: str | None) -> Closed | None:
    """:param found_at: as the tables have moments; :param closing: as ``closing_of`` gives it"""
    if closing is None:
        return None
    at, _, action = closing.partition(" ")
    waited_s = (parse_time(at) - parse_time(found_at)).total_seconds()
    return Closed(action, max(0, int(waited_s // 60)))


def _same(one: Any, other: Any) -> ColumnElement[bool]:
    return and_(one.c.origin == other.c.origin, one.c.reading == other.c.reading)
