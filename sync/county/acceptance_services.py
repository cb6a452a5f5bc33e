"""What was done for people in a period: by kind, village and van; the devices it was done with; how many people.

Added up by the database, by the day on which a visit was opened. Severe mental illness is in none of the numbers by
kind (Mental Health Law, art. 4): follow-up forms are counted as one kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, Table, and_, distinct, func, literal, null, or_, select, union_all

from sync.county.acceptance_period import Period
from sync.county.database import Database
from sync.county.schema import attendances, projected, visit_work
from sync.county.visit_work import DISEASES, SERVED
from sync.county.work_report import local_midnight

GROUPS = ("measured", "laboratory", "ecg", "ultrasound", "screened", "follow_up", "opinion", "referral")
"""In the order of the columns; each kind is of one of them."""
_VISITS = projected["visits"]
_READINGS, _RECORDINGS = projected["readings"], projected["recordings"]


class Kind(NamedTuple):
    """:ivar group: of ``GROUPS``; :ivar name: type of reading or disease; empty where the group has one kind"""

    group: str
    name: str = ""


class Where(NamedTuple):
    """:ivar village: code, empty where the visit names none; :ivar vehicle: short id"""

    village: str
    vehicle: str


@dataclass(frozen=True, slots=True)
class UsedDevice:
    """:ivar times: confirmed readings and recordings; :ivar visits: in which it was used"""

    vehicle: str
    device: str
    driver: str
    title: str
    serial: str
    times: int
    visits: int


@dataclass(frozen=True, slots=True)
class Services:
    """:ivar times: how often something was done
    :ivar devices: by van, the most used first; ``devices_in``: how many different ones were used in each village
    :ivar people: different persons who were served, whichever van they came to
    """

    times: Mapping[tuple[Where, Kind], int]
    devices: tuple[UsedDevice, ...]
    devices_in: Mapping[str, int]
    people: int

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Those that were done at all, by group."""
        done = {kind for _, kind in self.times}
        order = {disease: place for place, disease in enumerate(DISEASES)}
        return tuple(sorted(done, key=lambda kind: (GROUPS.index(kind.group), order.get(kind.name, -1), kind.name)))

    def by_village(self, group: str) -> Counter[str]:
        return self._sums(lambda where, kind: where.village if kind.group == group else None)

    def by_vehicle(self, kind: Kind) -> Counter[str]:
        return self._sums(lambda where, one: where.vehicle if one == kind else None)

    def by_place(self, kind: Kind) -> Counter[str]:
        return self._sums(lambda where, one: where.village if one == kind else None)

    @property
    def diseases(self) -> tuple[str, ...]:
        """For which somebody was screened."""
        return tuple(kind.name for kind in self.kinds if kind.group == "screened")

    def _sums(self, name_of: Any) -> Counter[str]:
        sums: Counter[str] = Counter()
        for (where, kind), times in self.times.items():
            name = name_of(where, kind)
            if name is not None:
                sums[name] += times
        return sums


def services_of(database: Database, period: Period, practice: bool) -> Services:
    counting = _Counting(database, period, practice)
    return Services(counting.times(), counting.devices(), counting.devices_in(), counting.people())


class _Counting:
    def __init__(self, database: Database, period: Period, practice: bool) -> None:
        self._database = database
        since, until = local_midnight(period.first), local_midnight(period.last + timedelta(days=1))
        real = or_(_VISITS.c.practice.is_(None), _VISITS.c.practice == 0)
        wanted = _VISITS.c.practice == 1 if practice else real
        self._within = and_(_VISITS.c.opened_at >= since, _VISITS.c.opened_at < until, wanted)

    def times(self) -> dict[tuple[Where, Kind], int]:
        found: Counter[tuple[Where, Kind]] = Counter()
        for group, table, name, done in _SOURCES:
            for where, kind, times in self._counted(table, name, done):
                is_laboratory = group == "measured" and kind == "laboratory"
                found[where, Kind("laboratory") if is_laboratory else Kind(group, kind)] += times
        people = func.sum(visit_work.c.people)
        screened = visit_work.c.what != SERVED
        for where, disease, times in self._counted(visit_work, visit_work.c.what, screened, people):
            if times:
                found[where, Kind("screened", disease)] += times
        return dict(found)

    def devices(self) -> tuple[UsedDevice, ...]:
        used = _used()
        same = and_(_VISITS.c.origin == used.c.origin, _VISITS.c.visit == used.c.visit)
        keys = (used.c.origin, used.c.device)
        numbers = (func.count().label("times"), func.count(distinct(used.c.visit)).label("visits"))
        told = (func.max(used.c.driver).label("driver"), func.max(used.c.serial).label("serial"))
        query = select(*keys, *numbers, *told).select_from(_VISITS.join(used, same)).where(self._within).group_by(*keys)
        names = projected["devices"]
        titles = select(names.c.origin, names.c.device, names.c.title, names.c.driver)
        known = {(row["origin"], row["device"]): row for row in self._database.rows(titles)}
        found = []
        for row in self._database.rows(query):
            about: Mapping[str, Any] = known.get((row["origin"], row["device"]), {})
            said = {name: str(row.get(name) or about.get(name) or "") for name in ("driver", "title", "serial")}
            vehicle = row["origin"].partition(".")[0]
            found.append(UsedDevice(vehicle, row["device"], times=row["times"], visits=row["visits"], **said))
        return tuple(sorted(found, key=lambda one: (one.vehicle, -one.times, one.device)))

    def devices_in(self) -> dict[str, int]:
        used = _used()
        same = and_(_VISITS.c.origin == used.c.origin, _VISITS.c.visit == used.c.visit)
        each = select(_VISITS.c.village, used.c.origin, used.c.device).distinct()
        rows = self._database.rows(each.select_from(_VISITS.join(used, same)).where(self._within))
        return dict(Counter(row["village"] or "" for row in rows))

    def people(self) -> int:
        """Somebody whom two vans have registered is one, as far as the registrations say so."""
        same = and_(_VISITS.c.origin == attendances.c.origin, _VISITS.c.visit == attendances.c.visit)
        persons = select(func.count(distinct(attendances.c.person)).label("persons"))
        served = persons.select_from(_VISITS.join(attendances, same)).where(attendances.c.served_at.is_not(None))
        row = self._database.row(served.where(self._within))
        return int(row["persons"]) if row else 0

    def _counted(
        self,
        table: Table,
        name: ColumnElement[Any],
        done: ColumnElement[bool],
        number: ColumnElement[Any] | None = None,
    ) -> Iterable[tuple[Where, str, int]]:
        """Rows of a table, by the village and the van of their visit and by ``name``."""
        same = and_(_VISITS.c.origin == table.c.origin, _VISITS.c.visit == table.c.visit)
        keys = (_VISITS.c.village, _VISITS.c.origin, name.label("name"))
        counted = (func.count() if number is None else number).label("times")
        query = select(*keys, counted).select_from(_VISITS.join(table, same)).where(self._within, done)
        for row in self._database.rows(query.group_by(*keys)):
            where = Where(row["village"] or "", row["origin"].partition(".")[0])
            yield where, row["name"] or "", int(row["times"] or 0)


_CONFIRMED = and_(_READINGS.c.confirmed_at.is_not(None), _READINGS.c.rejected_at.is_(None))
_NOTHING: ColumnElement[Any] = literal("", String)
_FORMS, _CONSULTATIONS, _REFERRALS = (projected[name] for name in ("follow_up_forms", "consultations", "referrals"))
_SOURCES: Sequence[tuple[str, Table, ColumnElement[Any], ColumnElement[bool]]] = (
    ("measured", _READINGS, _READINGS.c.type, _CONFIRMED),
    ("ecg", _RECORDINGS, _NOTHING, _RECORDINGS.c.what == "ecg"),
    ("ultrasound", _RECORDINGS, _NOTHING, _RECORDINGS.c.what.like("ultrasound%")),
    ("follow_up", _FORMS, _NOTHING, _FORMS.c.filled_at.is_not(None)),
    ("opinion", _CONSULTATIONS, _NOTHING, _CONSULTATIONS.c.opinion_at.is_not(None)),
    ("referral", _REFERRALS, _NOTHING, _REFERRALS.c.at.is_not(None)),
)
"""Group, table, name of the kind, and what counts as done. Opinions are those that were signed."""


def _used() -> Any:
    """Each use of a device: a confirmed reading that nobody typed in, or a recording."""
    read, kept = _READINGS.c, _RECORDINGS.c
    by_device = and_(read.device != "", or_(read.by_hand.is_(None), read.by_hand == 0))
    readings = select(read.origin, read.visit, read.device, read.driver, read.serial).where(_CONFIRMED, by_device)
    nothing: tuple[ColumnElement[Any], ...] = (null().label("driver"), null().label("serial"))
    recordings = select(kept.origin, kept.visit, kept.device, *nothing)
    return union_all(readings, recordings.where(kept.device != "", kept.media_type.is_not(None))).subquery("used")
