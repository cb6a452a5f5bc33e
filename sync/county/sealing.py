"""Seals months: ten days after its end a month's verdicts are written into the registry, a township at a time.

A sealed month is shown as it was sealed. What arrives later changes it only by a new verdict that names the one it
supersedes. Every process of the county does this in the background; a verdict that another has written is not written
again, because the comparison is made under the lock of the registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from starlette.concurrency import run_in_threadpool

from devices.clock import Clock
from devices.errors import Retry
from devices.events import emit
from sync.county.database import Database, unavailable
from sync.county.month_table import MonthTable, MonthTables, VillageMonth
from sync.county.registry import Registry
from sync.county.schema import logs, projected
from sync.formats.canonical import encode
from sync.formats.records import LARGEST_BODY_BYTES, parse_time
from sync.proof.coverage import other_month
from sync.proof.presence import local_day
from sync.proof.registry_entries import RegistryDraft, township_of
from sync.proof.registry_state import RegistryState, Verdict, month_key, sealed_villages

MOST_TRIES = 5
"""With a table made anew each, while others write into the registry."""
BY = "sealing"
"""Who a verdict is by, in the registry: no person."""
EVERY_S = 60.0
"""How often it is asked whether a decision, a waiver, a rule or the day has changed anything."""
ARRIVALS_EVERY = timedelta(minutes=30)
"""How often what has arrived is looked through: something arrives all the time."""
LOOK_BACK_MONTHS = 13
"""Sealed months that are compared again with what has arrived since."""
_PART_BYTES = LARGEST_BODY_BYTES - 10_000


class RegistryMoved(Retry):
    """Others wrote into the registry all the while; the next round seals the month."""

    code = "registry_moved"

    def __init__(self, month: date) -> None:
        super().__init__(f"the registry was written to all the while: {month:%Y-%m} is sealed by the next round")


class Sealing:
    def __init__(self, database: Database, registry: Registry, tables: MonthTables, clock: Clock) -> None:
        self._database = database
        self._registry = registry
        self._tables = tables
        self._clock = clock
        self._seen: tuple[object, ...] = ()
        self._arrived: tuple[object, ...] = ()
        self._looked_at = clock.now()

    async def run(self) -> None:
        """Seal what is due, for ever."""
        while True:
            try:
                await run_in_threadpool(self._seal_anew)
            except RegistryMoved:
                pass
            except (DBAPIError, NoFreeConnection) as fault:
                if not unavailable(fault):
                    raise
            await self._clock.sleep(EVERY_S)

    def seal_due(self) -> dict[date, int]:
        """Seal every month that is no longer provisional, and again where later arrivals changed it.

        A month of which entries are here and not read yet waits: its verdicts would take back what is only unread.

        :returns: townships sealed, by month
        """
        practice = self._tables.default_practice()
        sealed = {}
        for month in self._months(practice):
            count = self._seal(month, practice)
            if count:
                sealed[month] = count
                emit("month_sealed", month=month_key(month), townships=count)
        return sealed

    def _seal_anew(self) -> None:
        """``seal_due`` when the day or what people say has changed, and now and then for what has arrived."""
        state, now = self._registry.state().index, self._clock.now()
        said = (local_day(now), state.rules, state.village_list, state.waivers, state.reviews)
        if said == self._seen and now - self._looked_at < ARRIVALS_EVERY:
            return
        read = self._database.row(select(func.sum(logs.c.interpreted).label("sum"), func.count().label("logs")))
        arrived = tuple((read or {}).values())
        if (said, arrived) != (self._seen, self._arrived):
            self.seal_due()
        self._seen, self._arrived, self._looked_at = said, arrived, now

    def _months(self, practice: bool) -> Iterator[date]:
        """From the first month with a visit on; those that are sealed for long are left alone."""
        visits = projected["visits"]
        first = self._database.row(select(func.min(visits.c.opened_at).label("at")))
        if first is None or first["at"] is None:
            return
        today = self._today()
        named = self._registry.state().index.verdicts
        month = max(local_day(parse_time(first["at"])).replace(day=1), date(2000, 1, 1))
        while month < today.replace(day=1):
            old = month < other_month(today.replace(day=1), -LOOK_BACK_MONTHS)
            if not (old and named and (month_key(month) < min(named) or month_key(month) in named)):
                yield month
            month = other_month(month, 1)

    def _seal(self, month: date, practice: bool) -> int:
        """
        :raises RegistryMoved: other entries came in between, time and again
        """
        for _ in range(MOST_TRIES):
            size = self._registry.state().size
            table = self._tables.table(month, practice, as_sealed=False)
            if table.provisional or self._tables.being_read(month):
                return 0
            count = self._write(table, size)
            if count is not None:
                return count
        raise RegistryMoved(month)

    def _write(self, table: MonthTable, size: int) -> int | None:
        """Townships sealed; None when the registry has grown since ``table`` was made of its first ``size`` entries:
        what another worker has sealed meanwhile may know of a decision that this table does not.
        """
        month, practice = table.month, table.practice
        count: int | None = None

        def change(state: RegistryState, first_place: int) -> list[RegistryDraft]:
            nonlocal count
            if state.size != size:
                return []
            drafts: list[RegistryDraft] = []
            known = state.verdicts(month)
            changed = {
                code: rows for code, rows in _townships(table).items() if not _same(known.get(code), rows, practice)
            }
            for code, rows in changed.items():
                drafts += verdict_drafts(state, table, code, rows, first_place + len(drafts))
            count = len(changed)
            return drafts

        self._registry.change(change, BY)
        return count

    def _today(self) -> date:
        return local_day(self._clock.now())


def verdict_drafts(
    state: RegistryState, table: MonthTable, township_code: str, rows: Sequence[VillageMonth], place: int
) -> list[RegistryDraft]:
    """The verdict of one township, in several entries when one would be too large; the last goes on from the others."""
    rules = state.rules_entry_of(table.month)
    before = state.index.verdicts.get(month_key(table.month), {}).get(township_code)
    common: dict[str, Any] = {
        "month": month_key(table.month),
        "township": rows[0].village.township,
        "township_code": township_code,
        "practice": table.practice,
        "village_list": state.villages_version,
    }
    common |= {"rules": rules.n} if rules is not None else {}
    common |= {"supersedes": before} if before is not None else {}
    drafts: list[RegistryDraft] = []
    for villages in _parts(_said(rows)):
        goes_on = {"before": place + len(drafts) - 1} if drafts else {}
        drafts.append(RegistryDraft("verdict/1", {**common, "villages": villages, **goes_on}))
    return drafts


def _townships(table: MonthTable) -> dict[str, list[VillageMonth]]:
    grouped: dict[str, list[VillageMonth]] = {}
    for row in table.rows:
        grouped.setdefault(township_of(row.village.code), []).append(row)
    return grouped


def _same(sealed: Verdict | None, rows: Sequence[VillageMonth], practice: bool) -> bool:
    """Practice never takes the place of the real thing."""
    if sealed is None:
        return False
    if practice and not sealed.practice:
        return True
    return sealed.practice == practice and dict(sealed.villages) == sealed_villages(_said(rows))


def _said(rows: Sequence[VillageMonth]) -> dict[str, dict[str, Any]]:
    """``villages`` of a ``verdict/1`` entry."""
    return {
        row.village.code: {
            "state": row.verdict.state.value,
            "counted": row.verdict.counted,
            "visits": [
                {
                    "visit": visit.case.facts.visit,
                    "origin": visit.case.record.origin,
                    "day": visit.case.facts.day.isoformat(),
                    "state": visit.verdict.state.value,
                    "reasons": list(visit.verdict.reasons),
                }
                for visit in row.visits
            ],
        }
        for row in rows
    }


def _parts(villages: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    part: dict[str, Any] = {}
    size = 0
    for code, said in villages.items():
        more = len(encode(said)) + 20
        if part and size + more > _PART_BYTES:
            yield part
            part, size = {}, 0
        part[code], size = said, size + more
    yield part
