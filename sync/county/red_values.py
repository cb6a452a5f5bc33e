"""When red values were closed, and by what: referred, consulted, refused, or measured again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, func, select

from sync.county.database import Database
from sync.county.schema import projected
from sync.formats.critical_actions import ENDING, MEASURED_AGAIN

_ACTIONS, _READINGS = projected["critical_actions"], projected["readings"]


class Closed(NamedTuple):
    """:ivar at: as the tables have moments"""

    at: str
    action: str


def closed_red_values(database: Database, origins: Sequence[str], since: str) -> dict[tuple[str, str], Closed]:
    """(origin, reading) -> what closed it first.

    :param since: nothing that was done earlier is looked at
    """
    within = and_(_ACTIONS.c.origin.in_(origins), _ACTIONS.c.at >= since)
    done = select(_ACTIONS.c.origin, _ACTIONS.c.reading, _ACTIONS.c.action, _ACTIONS.c.at)
    closed: dict[tuple[str, str], Closed] = {}
    rows = database.rows(done.where(within, _ACTIONS.c.action.in_(sorted(ENDING))))
    rows += database.rows(_measured_again().where(within))
    for row in rows:
        key, one = (row["origin"], row["reading"]), Closed(row["at"], row.get("action") or MEASURED_AGAIN)
        if key not in closed or one.at < closed[key].at:
            closed[key] = one
    return closed


def _measured_again() -> Select[tuple[Any, ...]]:
    """The next confirmed reading of the same kind and encounter after somebody said that it is to be repeated."""
    first, later = _READINGS.alias("first"), _READINGS.alias("later")
    of_action = and_(first.c.origin == _ACTIONS.c.origin, first.c.reading == _ACTIONS.c.reading)
    same_kind = and_(
        later.c.origin == first.c.origin,
        later.c.encounter == first.c.encounter,
        later.c.type == first.c.type,
        later.c.confirmed_at > _ACTIONS.c.at,
        later.c.rejected_at.is_(None),
    )
    return (
        select(_ACTIONS.c.origin, _ACTIONS.c.reading, func.min(later.c.confirmed_at).label("at"))
        .select_from(_ACTIONS.join(first, of_action).join(later, same_kind))
        .where(_ACTIONS.c.action == "repeated")
        .group_by(_ACTIONS.c.origin, _ACTIONS.c.reading)
    )
