"""Follow-ups of the villages: members of each programme, what is due and what is overdue. Numbers only, no names.

A follow-up is due on the date of the person's last signed form, without one since the day of joining; "due" is within
14 days, before the van comes again. Who is registered on several vans is one member. Numbers below five are not shown
exactly, so that nobody can be told from them. What is confidential by law (severe mental illness) is counted for the
whole county only, and only from five upwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import CTE, ColumnElement, ScalarSelect, Select, and_, case, func, or_, select, union_all

from sync.county.database import Database
from sync.county.registrations import is_same
from sync.county.schema import projected, same_people
from sync.proof.areas import Village
from sync.proof.presence import local_day

DUE_WITHIN = timedelta(days=14)
SMALL = 5
"""Numbers from one to below this are shown as "fewer than this"."""
CONFIDENTIAL = frozenset({"severe_mental_illness"})
PROGRAMMES = (
    "hypertension",
    "diabetes",
    "elderly",
    "tcm_constitution",
    "tuberculosis",
    "maternal",
    "newborn",
    "severe_mental_illness",
)
FORMS = {"maternal": ("antenatal_first", "maternal", "postpartum_visit", "postpartum_42")}
"""Forms of a programme where there are several; else programme and form have one name (``vehicle/clinic/forms``)."""
_DAY_LETTERS = len("2026-01-31")
_TOLD = ("origin", "patient", "programme", "village", "village_name")
_members, _forms = projected["programme_memberships"], projected["follow_up_forms"]


@dataclass(frozen=True, slots=True)
class Count:
    """How many members, and how many of them are due or overdue."""

    members: int = 0
    due: int = 0
    overdue: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.members + other.members, self.due + other.due, self.overdue + other.overdue)


@dataclass(frozen=True, slots=True)
class FollowUps:
    """One programme in one village by one van, the one that spoke of its members last; ``village`` is empty where the
    entry names none."""

    origin: str
    village: str
    village_name: str
    programme: str
    count: Count


@dataclass(frozen=True, slots=True)
class VillageFollowUps:
    """:ivar village: None where the registry has no such code; :ivar counts: by programme, those that have members"""

    code: str
    name: str
    village: Village | None
    counts: Mapping[str, Count]

    @property
    def total(self) -> Count:
        """Exact: for the order of the rows, not to be shown (``shown_total``)."""
        return sum(self.counts.values(), Count())


@dataclass(frozen=True, slots=True)
class FollowUpReport:
    """:ivar confidential: of the whole county, by programme; None where it is too few to be told"""

    rows: tuple[VillageFollowUps, ...]
    confidential: Mapping[str, Count | None]
    day: date
    practice: bool

    def of(self, programme: str) -> list[Count]:
        """The counts of one programme, village by village."""
        return [row.counts[programme] for row in self.rows if programme in row.counts]

    @property
    def all(self) -> list[Count]:
        return [count for row in self.rows for count in row.counts.values()]


def shown(number: int) -> str:
    """A number as it may be shown: 0, "<5", or itself."""
    return str(number) if number == 0 or number >= SMALL else f"<{SMALL}"


def shown_total(parts: Sequence[int]) -> str:
    """The sum of numbers that stand beside it, as it may be shown: from an exact sum nobody may work out a small part.

    One hidden part would be the difference; several are known where all of them are one, or all are four. Then the sum
    of the others is shown as a bound.
    """
    hidden = [part for part in parts if 0 < part < SMALL]
    exact = sum(parts) - sum(hidden)
    if not hidden or (len(hidden) < sum(hidden) < len(hidden) * (SMALL - 1) and len(hidden) > 1):
        return shown(sum(parts))
    return f"≥{exact}" if exact else f"<{SMALL}" if len(hidden) == 1 else f"≥{len(hidden)}"


def shown_once(parts: Sequence[int], people: int) -> str:
    """How many ``people`` stand in numbers beside it, each of them in one or more, as it may be shown: as for
    ``shown_total``, where the sum may be told so may this."""
    if shown_total(parts).isdecimal():
        return shown(people)
    exact = max((part for part in parts if part >= SMALL), default=0)
    return f"≥{exact}" if exact else shown(people) if people < SMALL else f"≥{SMALL}"


def follow_up_report(database: Database, villages: Sequence[Village], now: datetime, practice: bool) -> FollowUpReport:
    """Of all vans; the villages with most overdue first."""
    today = local_day(now)
    known = {village.code: village for village in villages}
    by_village: dict[str, dict[str, Count]] = {}
    names: dict[str, str] = {}
    secret: dict[str, Count] = {}
    for one in _counted(database, today, practice):
        if one.programme in CONFIDENTIAL:
            secret[one.programme] = secret.get(one.programme, Count()) + one.count
        elif one.programme in PROGRAMMES:
            names.setdefault(one.village, one.village_name)
            counts = by_village.setdefault(one.village, {})
            counts[one.programme] = counts.get(one.programme, Count()) + one.count
    rows = [VillageFollowUps(code, names[code], known.get(code), counts) for code, counts in by_village.items()]
    rows.sort(key=lambda row: (-row.total.overdue, -row.total.due, row.code))
    told = {programme: count if count.members >= SMALL else None for programme, count in secret.items()}
    return FollowUpReport(tuple(rows), told, today, practice)


def any_real(database: Database) -> bool:
    return bool(database.rows(select(_members.c.patient).where(_of(_members, False)).limit(1)))


def any_practice(database: Database) -> bool:
    return bool(database.rows(select(_members.c.patient).where(_of(_members, True)).limit(1)))


def as_json(report: FollowUpReport, county: str) -> dict[str, Any]:
    """The same numbers as the page, small ones as text."""

    def told(count: Count) -> dict[str, str]:
        return {"members": shown(count.members), "due": shown(count.due), "overdue": shown(count.overdue)}

    return {
        "county": county,
        "day": report.day.isoformat(),
        "practice": report.practice,
        "due_within_days": DUE_WITHIN.days,
        "villages": [
            {
                "code": row.code,
                "name": row.village.name if row.village else row.name,
                "programmes": {programme: told(count) for programme, count in row.counts.items()},
            }
            for row in report.rows
        ],
    }


def follow_ups_by_village(database: Database, today: date, practice: bool) -> Iterable[FollowUps]:
    """Of every van, village and programme; nothing that is confidential by law."""
    return (one for one in _counted(database, today, practice) if one.programme in set(PROGRAMMES) - CONFIDENTIAL)


def members_due(practice: bool) -> CTE:
    """The members of all programmes with ``due_on``, the day of the next follow-up of each as YYYY-MM-DD. Whom several
    vans have registered is one member: of the van and the village that spoke of it last, due by the last form that any
    of them signed.

    To be selected from, with ``has_day``.
    """
    return (
        union_all(_members_alone(practice), _members_together(practice))
        .cte("members_due")
        .prefix_with(
            "MATERIALIZED"  # looked up once for each member
        )
    )


def _members_alone(practice: bool) -> Select[Any]:
    """Of people with one registration."""
    of_patient = and_(_forms.c.origin == _members.c.origin, _forms.c.patient == _members.c.patient)
    order = (_forms.c.n + 0).desc()  # as a sum, so that a planner looks the person up, not the newest entry
    said = _next_on(select(_forms.c.next_on).where(of_patient), _members.c.programme, practice, order)
    columns = [_members.c[name] for name in _TOLD]
    due_on = func.coalesce(func.nullif(said, ""), _members.c.since).label("due_on")
    asked = select(*columns, due_on).select_from(_members.outerjoin(same_people, is_same(_members)))
    return asked.where(_members.c.state == "member", _of(_members, practice), same_people.c.origin.is_(None))


def _members_together(practice: bool) -> Select[Any]:
    """Of people with several: what was said last of each in a programme counts."""
    first = [same_people.c.first_origin, same_people.c.first_patient]
    of_person: dict[str, Any] = {"partition_by": [*first, _members.c.programme]}
    place = func.row_number().over(**of_person, order_by=(_members.c.at.desc(), _members.c.origin, _members.c.patient))
    joined = case((_members.c.state == "member", _members.c.since))
    since = func.min(joined).over(**of_person)
    told = [_members.c[name] for name in (*_TOLD, "state")]
    each = (
        select(*told, *first, place.label("place"), since.label("since"))
        .select_from(_members.join(same_people, is_same(_members)))
        .where(_of(_members, practice))
        .subquery("each")
    )
    group = same_people.alias("registered")
    of_group = and_(_forms.c.origin == group.c.origin, _forms.c.patient == group.c.patient)
    same = and_(group.c.first_origin == each.c.first_origin, group.c.first_patient == each.c.first_patient)
    forms = select(_forms.c.next_on).select_from(group.join(_forms, of_group)).where(same)
    order = (_forms.c.filled_at.desc(), _forms.c.n.desc())
    said = _next_on(forms, each.c.programme, practice, *order)
    due_on = func.coalesce(func.nullif(said, ""), each.c.since).label("due_on")
    return select(*(each.c[name] for name in _TOLD), due_on).where(each.c.place == 1, each.c.state == "member")


def _next_on(
    forms: Select[Any], programme: ColumnElement[str], practice: bool, *order: ColumnElement[Any]
) -> ScalarSelect[str]:
    """What the last form of a programme says of the next; of a programme with several forms, the last of them."""
    several = [and_(programme == name, _forms.c.form.in_(of_it)) for name, of_it in FORMS.items()]
    wanted = or_(_forms.c.form == programme, *several)
    return forms.where(wanted, _of(_forms, practice)).order_by(*order).limit(1).scalar_subquery()


def has_day(members: CTE) -> ColumnElement[bool]:
    return func.length(members.c.due_on) == _DAY_LETTERS


def soon(members: CTE, today: date) -> ColumnElement[bool]:
    """Whether the next follow-up is due before the van comes again."""
    return members.c.due_on.between(today.isoformat(), (today + DUE_WITHIN).isoformat())


def _counted(database: Database, today: date, practice: bool) -> list[FollowUps]:
    members = members_due(practice)
    query = (
        select(
            members.c.origin,
            members.c.village,
            func.max(members.c.village_name).label("village_name"),
            members.c.programme,
            func.count().label("members"),
            func.sum(case((soon(members, today), 1), else_=0)).label("due"),
            func.sum(case((members.c.due_on < today.isoformat(), 1), else_=0)).label("overdue"),
        )
        .where(has_day(members))
        .group_by(members.c.origin, members.c.village, members.c.programme)
    )
    return [
        FollowUps(
            row["origin"],
            row["village"] or "",
            row["village_name"] or "",
            row["programme"],
            Count(int(row["members"]), int(row["due"]), int(row["overdue"])),
        )
        for row in database.rows(query)
    ]


def _of(table: Any, practice: bool) -> Any:
    return table.c.practice != 0 if practice else (table.c.practice == 0) | table.c.practice.is_(None)
